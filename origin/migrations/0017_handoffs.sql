-- Handing on what was sold: who sends it, how far each message is, and what partners report.

-- `secrets` sign what goes out and check what comes in, newest first (`shared/fulfilment/webhooks.py`). They must be
-- readable here: an HMAC needs the key itself on both sides.
CREATE TABLE partners (
  partner     text COLLATE "C" PRIMARY KEY,
  url         text NOT NULL,
  secrets     text[] NOT NULL CHECK (cardinality(secrets) BETWEEN 1 AND 2),
  created_ms  bigint NOT NULL,
  updated_ms  bigint NOT NULL
);

ALTER TABLE drops ADD COLUMN partner text COLLATE "C" REFERENCES partners;
CREATE INDEX drops_with_partner ON drops (drop) WHERE partner IS NOT NULL;

-- How far each drop's audit trail has been read: its positions have no gaps, and are committed in their order, under the
-- drop's lock. So settling writes nothing for its partner, and nothing that was committed is passed over.
CREATE TABLE handoff_cursors (
  drop      text COLLATE "C" PRIMARY KEY REFERENCES drops,
  position  bigint NOT NULL CHECK (position >= 0)
);

-- One message for each entry of the trail. `since_ms` is from when on it is tried, `answer` what the last try came to,
-- and `progress` what the partner reported last of the claim.
CREATE TABLE handoffs (
  drop            text COLLATE "C" NOT NULL REFERENCES drops,
  position        bigint NOT NULL,
  claim_id        text COLLATE "C" NOT NULL,
  kind            text COLLATE "C" NOT NULL CHECK (kind IN ('settled', 'returned')),
  partner         text COLLATE "C" NOT NULL REFERENCES partners,
  state           text COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
  tries           integer NOT NULL DEFAULT 0,
  since_ms        bigint NOT NULL,
  next_try_ms     bigint,
  answer          text COLLATE "C" NOT NULL DEFAULT '',
  delivered_ms    bigint,
  progress        text COLLATE "C" CHECK (progress IN ('shipped', 'handed_over', 'failed')),
  progress_at_ms  bigint,
  PRIMARY KEY (drop, position),
  UNIQUE (claim_id, kind),
  CONSTRAINT what_waits_is_tried CHECK ((state = 'waiting') = (next_try_ms IS NOT NULL)),
  CONSTRAINT delivered_has_an_instant CHECK (state <> 'delivered' OR delivered_ms IS NOT NULL),
  CONSTRAINT progress_has_an_instant CHECK ((progress IS NULL) = (progress_at_ms IS NULL))
);
CREATE INDEX handoffs_to_try ON handoffs (partner, next_try_ms) WHERE state = 'waiting';
CREATE INDEX handoffs_to_look_at ON handoffs (drop, position) WHERE state = 'dead' OR progress = 'failed';

-- What partners reported, each message once; another content under the same id is a conflict.
CREATE TABLE partner_reports (
  partner      text COLLATE "C" NOT NULL REFERENCES partners,
  message      text COLLATE "C" NOT NULL,
  digest       bytea NOT NULL CHECK (length(digest) = 32),
  claim_id     text COLLATE "C" NOT NULL,
  type         text COLLATE "C" NOT NULL,
  reason       text NOT NULL,
  at_ms        bigint NOT NULL,
  received_ms  bigint NOT NULL,
  PRIMARY KEY (partner, message)
);
CREATE INDEX partner_reports_by_claim ON partner_reports (claim_id, at_ms);

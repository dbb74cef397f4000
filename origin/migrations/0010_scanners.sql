-- Picking up: scanners, what they signed, and what was fetched.

ALTER TABLE api_keys
  DROP CONSTRAINT api_keys_kind_check,
  ADD CONSTRAINT api_keys_kind_check CHECK (kind IN ('operator', 'edge', 'scanner'));

-- One device at one place. `code_hash` is of the one-time code that it enrols with, and is gone once that is used;
-- `public_key` checks what it signs.
CREATE TABLE scanners (
  scanner      text COLLATE "C" PRIMARY KEY,
  place        text COLLATE "C" NOT NULL,
  code_hash    text COLLATE "C" UNIQUE,
  code_until_ms  bigint NOT NULL,
  public_key   jsonb,
  created_ms   bigint NOT NULL,
  enrolled_ms  bigint,
  seen_ms      bigint,
  CONSTRAINT enrolled_has_a_key CHECK ((public_key IS NULL) = (enrolled_ms IS NULL))
);

-- What a scanner signed, word for word, each once. `claim_id` is null where it could read none.
CREATE TABLE scans (
  scanner      text COLLATE "C" NOT NULL REFERENCES scanners,
  digest       bytea NOT NULL CHECK (length(digest) = 32),
  seq          bigint NOT NULL,
  claim_id     text COLLATE "C",
  verdict      text COLLATE "C" NOT NULL,
  outcome      text COLLATE "C" NOT NULL,
  at_ms        bigint NOT NULL,
  received_ms  bigint NOT NULL,
  scan         text COLLATE "C" NOT NULL,
  PRIMARY KEY (scanner, digest)
);
CREATE INDEX scans_by_claim ON scans (claim_id) WHERE outcome <> 'noted';
CREATE INDEX scans_to_look_at ON scans (received_ms) WHERE outcome NOT IN ('noted', 'picked_up');

-- Claims that were picked up. Written under the lock on the drop's row, while `settlements` says that they are settled;
-- what is returned after it was fetched stays here too.
CREATE TABLE pickups (
  claim_id      text COLLATE "C" PRIMARY KEY REFERENCES settlements,
  picked_up_ms  bigint NOT NULL
);

CREATE TABLE pass_revocations (
  claim_id    text COLLATE "C" PRIMARY KEY REFERENCES settlements,
  revoked_ms  bigint NOT NULL
);

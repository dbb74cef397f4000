-- Intake and reconciliation: what was delivered once, what was issued, what does not count.

-- `seen` is every batch of a node that has come: what is redelivered on whatever day is known, and what is missing is
-- the complement. Consecutive numbers are one range, so a healthy node's row stays small.
-- `ahead_ms`: how far the node's clock must be ahead of ours, at least; `slowest_ms`: its latest arrival.
ALTER TABLE edge_nodes
  ADD COLUMN seen        int8multirange NOT NULL DEFAULT '{}',
  ADD COLUMN events      bigint NOT NULL DEFAULT 0,
  ADD COLUMN ahead_ms    bigint NOT NULL DEFAULT 0,
  ADD COLUMN slowest_ms  bigint NOT NULL DEFAULT 0;

-- Of the batch that an event came in: the same (node, seq) with another content is no redelivery, and is reported.
ALTER TABLE edge_events ADD COLUMN batch_digest bigint NOT NULL DEFAULT 0;

-- Claims that the edge reports to have given, each once. `trusted` is false while the token's key is not known here.
-- `token` is kept only as long as it may be needed: for what the origin itself has still to settle or to verify.
CREATE TABLE issued_claims (
  drop           text COLLATE "C" NOT NULL,
  claim_id       text COLLATE "C" NOT NULL,
  clip           text COLLATE "C" NOT NULL,
  offer          text COLLATE "C" NOT NULL,
  colo           text COLLATE "C" NOT NULL,
  units          integer NOT NULL CHECK (units >= 0),
  free           boolean NOT NULL,
  trusted        boolean NOT NULL,
  issued_at_ms   bigint NOT NULL,
  expires_at_ms  bigint NOT NULL,
  received_ms    bigint NOT NULL,
  repaired_ms    bigint,
  token          text,
  PRIMARY KEY (drop, claim_id)
);
CREATE INDEX issued_claims_to_settle ON issued_claims (drop, claim_id) WHERE token IS NOT NULL;
CREATE INDEX issued_claims_by_age ON issued_claims USING brin (expires_at_ms);

-- What was delivered and does not count, with a closed reason, for a person to look at. `delivery` names it, so that a
-- redelivery is the same row: node/seq/position, or the queue's own id where not even that could be read.
CREATE TABLE event_rejections (
  delivery     text COLLATE "C" PRIMARY KEY,
  reason       text COLLATE "C" NOT NULL,
  node         text COLLATE "C",
  seq          bigint,
  position     integer NOT NULL,
  size_bytes   integer NOT NULL,
  body_sha256  bytea NOT NULL,
  body_start   bytea NOT NULL,
  received_ms  bigint NOT NULL
);
CREATE INDEX event_rejections_by_age ON event_rejections (received_ms);

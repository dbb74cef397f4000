-- Where the issued claims stand, by drop, minute and node: reconciliation counts recent minutes anew in each run, and
-- leaves those alone in which nothing can change any more. So a run costs what is recent, not all that is kept.
CREATE TABLE claim_minutes (
  drop         text COLLATE "C" NOT NULL,
  minute_ms    bigint NOT NULL,
  node         text COLLATE "C" NOT NULL,
  issued       integer NOT NULL,
  presented    integer NOT NULL,
  held         integer NOT NULL,
  settled      integer NOT NULL,
  paid         integer NOT NULL,
  refused      integer NOT NULL,
  outstanding  integer NOT NULL,
  lapsed       integer NOT NULL,
  due          integer NOT NULL,
  unverified   integer NOT NULL,
  repaired     integer NOT NULL,
  over_issued  integer NOT NULL,
  blind        integer NOT NULL,
  PRIMARY KEY (drop, minute_ms, node)
);
CREATE INDEX claim_minutes_by_age ON claim_minutes (minute_ms);
-- Minutes whose claims may still come to something else by themselves.
CREATE INDEX claim_minutes_open ON claim_minutes (minute_ms) WHERE held + outstanding + due > 0;

-- `node` reported the claim first; equal instants are told apart by its name, so that the order of arrival is nothing.
ALTER TABLE issued_claims ADD COLUMN node text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX issued_claims_by_minute ON issued_claims USING brin (issued_at_ms);
CREATE INDEX issued_claims_by_arrival ON issued_claims USING brin (received_ms);

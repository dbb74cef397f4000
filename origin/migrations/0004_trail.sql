-- The audit trail: for each drop, a chain of all decisions that take or give units, and signed heads of it.
-- What a hash is made of: `shared/audit/trail.py`. `settled` is the drop's total right after the entry; `content` and
-- `facts` are digests of what the decision is stored as, so a row that is changed later does not fit its entry.
CREATE TABLE trail_entries (
  drop      text COLLATE "C" NOT NULL,
  position  bigint NOT NULL CHECK (position >= 1),
  kind      text COLLATE "C" NOT NULL CHECK (kind IN ('settled', 'returned')),
  claim_id  text COLLATE "C" NOT NULL,
  units     integer NOT NULL,
  settled   bigint NOT NULL CHECK (settled >= 0),
  at_ms     bigint NOT NULL,
  content   bytea NOT NULL CHECK (length(content) = 32),
  facts     bytea NOT NULL CHECK (length(facts) = 32),
  hash      bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (drop, position)
);

-- `head` is the signed statement itself (JWS): whoever keeps one can show later that the trail was changed.
CREATE TABLE trail_heads (
  drop      text COLLATE "C" NOT NULL,
  position  bigint NOT NULL,
  head      text NOT NULL,
  made_ms   bigint NOT NULL,
  PRIMARY KEY (drop, position)
);

-- The first schema. All instants are milliseconds since 1970-01-01T00:00:00Z, in columns that end in `_ms`.
-- What creators type is jsonb, keyed by locale. Ids compare as bytes (COLLATE "C"): order never depends on a locale.

CREATE TABLE creators (
  creator     text COLLATE "C" PRIMARY KEY,
  name        text NOT NULL,
  page        text,
  created_ms  bigint NOT NULL,
  updated_ms  bigint NOT NULL
);

-- One limited run of a SKU. The row is the lock under which its stock is decided.
-- fillfactor: it is updated all the time, so its new versions should find room on the same page (HOT).
CREATE TABLE drops (
  drop              text COLLATE "C" PRIMARY KEY,
  run               text COLLATE "C" NOT NULL,
  sku               text COLLATE "C" NOT NULL,
  total             integer NOT NULL CHECK (total >= 0),
  free              integer NOT NULL CHECK (free >= 0),
  held              integer NOT NULL DEFAULT 0 CHECK (held >= 0),
  settled           integer NOT NULL DEFAULT 0 CHECK (settled >= 0),
  next_number       integer NOT NULL DEFAULT 1 CHECK (next_number >= 1),
  stock_version     bigint NOT NULL DEFAULT 1 CHECK (stock_version >= 1),
  opens_at_ms       bigint NOT NULL,
  closes_at_ms      bigint NOT NULL,
  mode              text NOT NULL DEFAULT 'open' CHECK (mode IN ('open')),
  max_quantity      integer NOT NULL DEFAULT 1 CHECK (max_quantity >= 1),
  per_viewer_cap    integer NOT NULL DEFAULT 1 CHECK (per_viewer_cap >= 1),
  when_origin_away  text NOT NULL DEFAULT 'take' CHECK (when_origin_away IN ('take', 'close')),
  created_ms        bigint NOT NULL,
  updated_ms        bigint NOT NULL,
  CONSTRAINT stock_adds_up CHECK (free + held + settled = total),
  CONSTRAINT window_is_one CHECK (opens_at_ms < closes_at_ms)
) WITH (fillfactor = 10);

CREATE TABLE offers (
  offer         text COLLATE "C" PRIMARY KEY,
  drop          text COLLATE "C" NOT NULL REFERENCES drops,
  kind          text NOT NULL,
  names         jsonb NOT NULL,
  descriptions  jsonb NOT NULL,
  image         text,
  prices        jsonb NOT NULL,
  payment       text NOT NULL CHECK (payment IN ('none', 'at_pickup')),
  created_ms    bigint NOT NULL,
  updated_ms    bigint NOT NULL
);
CREATE INDEX offers_by_drop ON offers (drop);

CREATE TABLE clips (
  clip            text COLLATE "C" PRIMARY KEY,
  creator         text COLLATE "C" NOT NULL REFERENCES creators,
  names           jsonb NOT NULL,
  default_locale  text NOT NULL,
  offers          text[] NOT NULL,
  links           jsonb NOT NULL,
  claim_ttl_s     integer NOT NULL CHECK (claim_ttl_s > 0),
  created_ms      bigint NOT NULL,
  updated_ms      bigint NOT NULL
);
CREATE INDEX clips_by_offer ON clips USING gin (offers);

-- Published documents, byte for byte. A version never changes.
CREATE TABLE manifests (
  clip             text COLLATE "C" NOT NULL REFERENCES clips,
  version          integer NOT NULL CHECK (version >= 1),
  body             bytea NOT NULL,
  published_at_ms  bigint NOT NULL,
  PRIMARY KEY (clip, version)
);

-- One final decision for each claim id: dedup key, effect and answer in one row.
-- No foreign key to `drops`: that a drop is not known is a decision too, and is kept.
-- `receipt` is the payload that is signed, and `kid` the key: Ed25519 gives the same signature each time, so the
-- answer is made again from this row, byte for byte, and nothing is signed that nobody asks for.
-- `stock_*` is the drop's stock right after this decision, within its transaction.
CREATE TABLE settlements (
  claim_id         text COLLATE "C" PRIMARY KEY,
  drop             text COLLATE "C" NOT NULL,
  run              text COLLATE "C" NOT NULL,
  viewer           text COLLATE "C" NOT NULL,
  fingerprint      text COLLATE "C" NOT NULL,
  status           text COLLATE "C" NOT NULL CHECK (status IN ('settled', 'refused')),
  code             text COLLATE "C",
  quantity         integer NOT NULL CHECK (quantity >= 0),
  first_number     integer,
  total_minor      bigint NOT NULL CHECK (total_minor >= 0),
  currency         text COLLATE "C" NOT NULL,
  creator          text COLLATE "C" NOT NULL,
  clip             text COLLATE "C" NOT NULL,
  offer            text COLLATE "C" NOT NULL,
  arm              text COLLATE "C" NOT NULL,
  lines            jsonb NOT NULL,
  receipt          bytea,
  kid              text COLLATE "C",
  source           text COLLATE "C" NOT NULL CHECK (source IN ('request', 'event')),
  settled_at_ms    bigint NOT NULL,
  stock_total      integer,
  stock_remaining  integer,
  stock_version    bigint,
  CONSTRAINT decision_is_whole CHECK (
    CASE status
      WHEN 'settled' THEN code IS NULL AND first_number IS NOT NULL AND receipt IS NOT NULL AND kid IS NOT NULL
        AND stock_version IS NOT NULL
      ELSE code IS NOT NULL AND first_number IS NULL AND receipt IS NULL AND kid IS NULL
    END
  )
);
-- What a viewer has of a drop, without a look at the table.
CREATE INDEX settlements_by_viewer ON settlements (drop, viewer) INCLUDE (run, status, quantity);

-- What the edge reports, once each. `day` is the UTC day of the batch's own `at_ms`, not of its arrival: a
-- redelivered batch says the same instant, so it meets its first copy in the same partition on whatever day it comes,
-- and the primary key keeps it out. Days without a partition of their own go to the default one.
CREATE TABLE edge_events (
  day            date NOT NULL,
  node           text COLLATE "C" NOT NULL,
  seq            bigint NOT NULL,
  position       smallint NOT NULL,
  type           text COLLATE "C" NOT NULL,
  at_ms          bigint NOT NULL,
  received_ms    bigint NOT NULL,
  colo           text COLLATE "C" NOT NULL,
  country        text COLLATE "C" NOT NULL,
  clip           text COLLATE "C" NOT NULL,
  offer          text COLLATE "C",
  drop           text COLLATE "C",
  claim_id       text COLLATE "C",
  expires_at_ms  bigint,
  code           text COLLATE "C",
  name           text COLLATE "C",
  duration_ms    double precision,
  detail         text NOT NULL DEFAULT '',
  PRIMARY KEY (day, node, seq, position)
) PARTITION BY RANGE (day);
CREATE TABLE edge_events_other PARTITION OF edge_events DEFAULT;
CREATE INDEX edge_events_by_claim ON edge_events (claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX edge_events_by_drop ON edge_events (drop, day) WHERE drop IS NOT NULL;

-- Make the partition of one day, unless it is there. Safe when several processes do it at once. Call it in a
-- transaction of its own, before the day's first event: rows that already lie in the default partition stay there.
CREATE FUNCTION make_edge_events_partition(wanted date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  partition text := 'edge_events_' || to_char(wanted, 'YYYYMMDD');
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('cliptill edge_events partitions'));
  IF to_regclass(partition) IS NOT NULL OR EXISTS (SELECT FROM edge_events_other WHERE day = wanted) THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE %I PARTITION OF edge_events FOR VALUES FROM (%L) TO (%L)', partition, wanted, wanted + 1);
END
$$;

-- An isolate of the edge that was heard of. `highest_seq - batches` of its batches have not come (yet).
CREATE TABLE edge_nodes (
  node               text COLLATE "C" PRIMARY KEY,
  colo               text COLLATE "C" NOT NULL,
  highest_seq        bigint NOT NULL,
  batches            bigint NOT NULL,
  first_received_ms  bigint NOT NULL,
  last_received_ms   bigint NOT NULL
);
CREATE INDEX edge_nodes_by_age ON edge_nodes (last_received_ms);

-- Keys of operators, by their SHA-256: the key itself is shown once and kept nowhere.
CREATE TABLE api_keys (
  key_hash    bytea PRIMARY KEY,
  name        text NOT NULL UNIQUE,
  created_ms  bigint NOT NULL,
  revoked_ms  bigint
);

CREATE TABLE reconciliation_runs (
  run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  started_ms   bigint NOT NULL,
  finished_ms  bigint,
  report       jsonb
);
CREATE INDEX reconciliation_runs_by_start ON reconciliation_runs (started_ms);

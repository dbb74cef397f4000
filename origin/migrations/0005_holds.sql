-- Holds: units set aside for a claim until it is paid, or until an instant.

ALTER TABLE drops
  ADD COLUMN hold_s        integer NOT NULL DEFAULT 300 CHECK (hold_s > 0),
  ADD COLUMN late_payment  text NOT NULL DEFAULT 'honour' CHECK (late_payment IN ('honour', 'refund'));

ALTER TABLE offers
  DROP CONSTRAINT offers_payment_check,
  ADD CONSTRAINT offers_payment_check CHECK (payment IN ('none', 'at_pickup', 'card', 'wallet'));

ALTER TABLE settlements
  DROP CONSTRAINT settlements_source_check,
  ADD CONSTRAINT settlements_source_check CHECK (source IN ('request', 'event', 'payment'));

-- One row for each claim that was ever held; every change of it is made under the lock on its drop's row.
-- `state` is what was written last: whether a held one has lapsed is decided by comparing `until_ms` when it is read.
-- `claim` is the verified claim itself: what is paid is settled from it, long after its token has expired.
CREATE TABLE holds (
  claim_id     text COLLATE "C" PRIMARY KEY,
  drop         text COLLATE "C" NOT NULL REFERENCES drops,
  run          text COLLATE "C" NOT NULL,
  viewer       text COLLATE "C" NOT NULL,
  fingerprint  text COLLATE "C" NOT NULL,
  quantity     integer NOT NULL CHECK (quantity > 0),
  state        text COLLATE "C" NOT NULL CHECK (state IN ('held', 'lapsed', 'released', 'settled', 'refused')),
  until_ms     bigint NOT NULL,
  payment      text COLLATE "C" NOT NULL CHECK (payment IN ('card', 'wallet')),
  claim        bytea NOT NULL,
  held_at_ms   bigint NOT NULL,
  changed_ms   bigint NOT NULL
);
CREATE INDEX holds_by_instant ON holds (drop, until_ms) WHERE state = 'held';
CREATE INDEX holds_by_viewer ON holds (drop, viewer) WHERE state = 'held';

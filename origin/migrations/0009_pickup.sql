-- Pickup windows: `pickup` is what the operator wrote (place, zone, wall times); the instants are what counts.
ALTER TABLE drops
  ADD COLUMN pickup           jsonb,
  ADD COLUMN pickup_place     text COLLATE "C" GENERATED ALWAYS AS (pickup ->> 'place') STORED,
  ADD COLUMN pickup_from_ms   bigint,
  ADD COLUMN pickup_until_ms  bigint,
  ADD CONSTRAINT pickup_is_whole CHECK (
    (pickup IS NULL) = (pickup_from_ms IS NULL) AND (pickup IS NULL) = (pickup_until_ms IS NULL)
    AND pickup_from_ms < pickup_until_ms
  );
CREATE INDEX drops_by_pickup_place ON drops (pickup_place) WHERE pickup_place IS NOT NULL;

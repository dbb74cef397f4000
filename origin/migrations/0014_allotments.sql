-- Allotments: units set aside out of one drop's run for a channel (a pre-sale, a counter), until an instant.
-- `received` and `released` are units that went from allotments to their pool: `total` is what the operator wrote, plus
-- what the drop received, less what it released.
ALTER TABLE drops
  ADD COLUMN allotment_of   text COLLATE "C" REFERENCES drops,
  ADD COLUMN release_at_ms  bigint,
  ADD COLUMN received       integer NOT NULL DEFAULT 0 CHECK (received >= 0),
  ADD COLUMN released       integer NOT NULL DEFAULT 0 CHECK (released >= 0),
  ADD CONSTRAINT allotment_is_whole CHECK ((allotment_of IS NULL) = (release_at_ms IS NULL) AND allotment_of <> drop);
CREATE INDEX drops_by_pool ON drops (allotment_of) WHERE allotment_of IS NOT NULL;

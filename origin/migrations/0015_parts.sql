-- Bundles: drops whose units are settled together with units of other drops. `parts` is what the operator wrote; null for
-- all other drops. It never changes, and drops are never deleted: what it names is there.
ALTER TABLE drops
  ADD COLUMN parts jsonb,
  ADD CONSTRAINT parts_are_some CHECK (jsonb_typeof(parts) = 'array' AND jsonb_array_length(parts) > 0);

-- A bundle's part is a settlement, and before that a hold, of its own in its drop.
ALTER TABLE settlements
  DROP CONSTRAINT settlements_source_check,
  ADD CONSTRAINT settlements_source_check CHECK (source IN ('request', 'event', 'payment', 'pos', 'bundle'));
ALTER TABLE holds ADD COLUMN bundle text COLLATE "C";

-- Sales over a counter: settled like claims, reported by registers, each with a key of its own.
ALTER TABLE api_keys
  DROP CONSTRAINT api_keys_kind_check,
  ADD CONSTRAINT api_keys_kind_check CHECK (kind IN ('operator', 'edge', 'register', 'scanner'));
ALTER TABLE settlements
  DROP CONSTRAINT settlements_source_check,
  ADD CONSTRAINT settlements_source_check CHECK (source IN ('request', 'event', 'payment', 'pos'));

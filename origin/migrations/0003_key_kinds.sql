-- A key opens one door: the operators' API, or what a self-hosted edge reports to.
ALTER TABLE api_keys ADD COLUMN kind text COLLATE "C" NOT NULL DEFAULT 'operator' CHECK (kind IN ('operator', 'edge'));

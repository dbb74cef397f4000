-- Shares: which creators have which part of what a drop's sales bring (`shared/money/splits.py`), and what they are owed.

CREATE TABLE drop_shares (
  drop      text COLLATE "C" NOT NULL REFERENCES drops,
  creator   text COLLATE "C" NOT NULL REFERENCES creators,
  share_bp  integer NOT NULL CHECK (share_bp BETWEEN 1 AND 10000),
  PRIMARY KEY (drop, creator)
);

-- The sum of the accounts `owed:CREATOR:DROP`, kept by the database itself. Whoever posts to one holds the lock on that
-- drop's row, so nobody waits for a row here who does not wait already.
CREATE TABLE creator_dues (
  creator     text COLLATE "C" NOT NULL,
  drop        text COLLATE "C" NOT NULL,
  currency    text COLLATE "C" NOT NULL,
  owed_minor  bigint NOT NULL,
  PRIMARY KEY (creator, drop, currency),
  CONSTRAINT no_creator_owes_us CHECK (owed_minor >= 0)
);
CREATE INDEX creator_dues_by_drop ON creator_dues (drop, creator, currency);
CREATE FUNCTION keep_due() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  whose  text := split_part(NEW.account, ':', 2);
  what   text := split_part(NEW.account, ':', 3);
BEGIN
  UPDATE creator_dues SET owed_minor = owed_minor + NEW.amount_minor
  WHERE creator = whose AND drop = what AND currency = NEW.currency;
  IF NOT FOUND THEN
    INSERT INTO creator_dues VALUES (whose, what, NEW.currency, NEW.amount_minor)
    ON CONFLICT (creator, drop, currency) DO UPDATE SET owed_minor = creator_dues.owed_minor + excluded.owed_minor;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER dues_follow_the_ledger AFTER INSERT ON ledger_entries
  FOR EACH ROW WHEN (NEW.account LIKE 'owed:%') EXECUTE FUNCTION keep_due();
CREATE TRIGGER dues_are_not_written BEFORE INSERT OR UPDATE OR DELETE ON creator_dues
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_ledger_change();

-- Payments, what providers tell of them, and the ledger.

-- `payment` is our own name for it, and the key under which the provider is asked. `captured` means: the goods are given.
-- A row is there before the provider is asked: what a crash leaves half-done is found by it.
CREATE TABLE payments (
  payment            text COLLATE "C" PRIMARY KEY,
  claim_id           text COLLATE "C" NOT NULL REFERENCES holds,
  provider           text COLLATE "C" NOT NULL,
  reference          text COLLATE "C",
  amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
  currency           text COLLATE "C" NOT NULL,
  state              text COLLATE "C" NOT NULL CHECK (
    state IN ('begun', 'captured', 'refund_due', 'refunded', 'voided', 'failed')
  ),
  -- What the provider took, in its currency, and how much of that goes back, and went.
  captured_minor     bigint NOT NULL DEFAULT 0 CHECK (captured_minor >= 0),
  captured_currency  text COLLATE "C",
  refund_minor       bigint NOT NULL DEFAULT 0 CHECK (refund_minor BETWEEN 0 AND captured_minor),
  refunded_minor     bigint NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND refund_minor),
  created_ms         bigint NOT NULL,
  changed_ms         bigint NOT NULL,
  -- When it is looked at next by itself, and how often it was; null once nothing is open.
  next_look_ms       bigint,
  looks              integer NOT NULL DEFAULT 0,
  UNIQUE (provider, reference),
  CONSTRAINT taken_money_has_a_currency CHECK (captured_minor = 0 OR captured_currency IS NOT NULL),
  CONSTRAINT what_is_open_is_looked_at CHECK (state NOT IN ('begun', 'refund_due') OR next_look_ms IS NOT NULL),
  CONSTRAINT state_is_what_the_money_says CHECK (
    CASE state
      WHEN 'captured' THEN captured_minor > 0 AND refund_minor = 0
      WHEN 'refund_due' THEN refund_minor > refunded_minor
      WHEN 'refunded' THEN refund_minor > 0 AND refund_minor = refunded_minor
      ELSE captured_minor = 0
    END
  )
);
CREATE INDEX payments_by_claim ON payments (claim_id);
CREATE INDEX payments_to_look_at ON payments (next_look_ms) WHERE next_look_ms IS NOT NULL;
-- One claim is paid once: what comes beside it goes back.
CREATE UNIQUE INDEX payments_that_bought ON payments (claim_id) WHERE state = 'captured';

-- What providers told, once each. `applied_ms` is null until it has been looked into; while the payment that it is about
-- is not known here, it waits for it.
CREATE TABLE payment_messages (
  provider     text COLLATE "C" NOT NULL,
  message      text COLLATE "C" NOT NULL,
  payment      text COLLATE "C" NOT NULL,
  received_ms  bigint NOT NULL,
  applied_ms   bigint,
  PRIMARY KEY (provider, message)
);
CREATE INDEX payment_messages_waiting ON payment_messages (payment) WHERE applied_ms IS NULL;

-- Double entry: in each posting the entries of a currency sum to zero, checked when its transaction commits; so all
-- accounts together do. Positive is what an account has or is owed.
CREATE TABLE ledger_entries (
  posting       text COLLATE "C" NOT NULL,
  account       text COLLATE "C" NOT NULL,
  currency      text COLLATE "C" NOT NULL,
  amount_minor  bigint NOT NULL CHECK (amount_minor <> 0),
  at_ms         bigint NOT NULL,
  PRIMARY KEY (posting, account, currency)
);
CREATE INDEX ledger_entries_by_account ON ledger_entries (account, currency, at_ms);
CREATE VIEW ledger_accounts AS
  SELECT account, currency, sum(amount_minor)::bigint AS balance_minor FROM ledger_entries GROUP BY account, currency;

CREATE FUNCTION check_posting_is_zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT sum(amount_minor) FROM ledger_entries WHERE posting = NEW.posting AND currency = NEW.currency) <> 0 THEN
    RAISE EXCEPTION 'posting % does not sum to zero', NEW.posting USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER ledger_sums_to_zero AFTER INSERT ON ledger_entries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_posting_is_zero();
CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is never changed: post the opposite' USING ERRCODE = 'check_violation';
END
$$;
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON ledger_entries
  FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();

-- What viewers have to spend: the sum of their accounts' entries (`wallet:VIEWER`), kept by the database itself, so that
-- it can be locked, and is never negative. Accounts that every payment touches have no such row: it would be a lock that
-- all wait for.
CREATE TABLE wallets (
  viewer         text COLLATE "C" NOT NULL,
  currency       text COLLATE "C" NOT NULL,
  balance_minor  bigint NOT NULL,
  PRIMARY KEY (viewer, currency),
  CONSTRAINT no_wallet_is_overdrawn CHECK (balance_minor >= 0)
);
CREATE FUNCTION keep_wallet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE wallets SET balance_minor = balance_minor + NEW.amount_minor
  WHERE viewer = substr(NEW.account, 8) AND currency = NEW.currency;
  IF NOT FOUND THEN
    INSERT INTO wallets VALUES (substr(NEW.account, 8), NEW.currency, NEW.amount_minor)
    ON CONFLICT (viewer, currency) DO UPDATE SET balance_minor = wallets.balance_minor + excluded.balance_minor;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER wallets_follow_the_ledger AFTER INSERT ON ledger_entries
  FOR EACH ROW WHEN (NEW.account LIKE 'wallet:%') EXECUTE FUNCTION keep_wallet();
CREATE TRIGGER wallets_are_not_written BEFORE INSERT OR UPDATE OR DELETE ON wallets
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_ledger_change();

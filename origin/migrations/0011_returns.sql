-- Settlements that are called off: goods come back, and money where some was paid.

-- What is `cancelled` or `refunded` was settled once: its row keeps all that its receipt and the audit trail say.
ALTER TABLE settlements
  DROP CONSTRAINT settlements_status_check,
  ADD CONSTRAINT settlements_status_check CHECK (status IN ('settled', 'refused', 'cancelled', 'refunded')),
  DROP CONSTRAINT decision_is_whole,
  ADD CONSTRAINT decision_is_whole CHECK (
    CASE status
      WHEN 'refused' THEN code IS NOT NULL AND first_number IS NULL AND receipt IS NULL AND kid IS NULL
      ELSE code IS NULL AND first_number IS NOT NULL AND receipt IS NOT NULL AND kid IS NOT NULL
        AND stock_version IS NOT NULL
    END
  );

-- One for each claim, for ever: that is what keeps units and money from coming back twice.
-- `document` is the answer that was given, and what the entry of the audit trail covers.
CREATE TABLE returns (
  claim_id     text COLLATE "C" PRIMARY KEY REFERENCES settlements,
  key          text COLLATE "C" NOT NULL,
  request      text COLLATE "C" NOT NULL,
  payment      text COLLATE "C" REFERENCES payments,
  document     bytea NOT NULL,
  returned_ms  bigint NOT NULL
);

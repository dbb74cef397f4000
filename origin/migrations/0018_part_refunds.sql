-- Money that a provider gave back in part without being asked: it is noted beside the goods, which stay given.
-- `told_minor` is what the provider says it has of a payment, where that is not what we noted: for a person to look into.
ALTER TABLE payments
  ADD COLUMN told_minor bigint CHECK (told_minor <> captured_minor - refunded_minor),
  DROP CONSTRAINT state_is_what_the_money_says,
  ADD CONSTRAINT state_is_what_the_money_says CHECK (
    CASE state
      WHEN 'captured' THEN refund_minor = refunded_minor AND refunded_minor < captured_minor
      WHEN 'refund_due' THEN refund_minor > refunded_minor
      WHEN 'refunded' THEN refund_minor > 0 AND refund_minor = refunded_minor
      ELSE captured_minor = 0
    END
  );
CREATE INDEX payments_told_otherwise ON payments (payment) WHERE told_minor IS NOT NULL;

-- A run compares money and goods that changed lately, and finds them by these: it does not read all that ever was.
CREATE INDEX payments_by_change ON payments (changed_ms);
CREATE INDEX settlements_paid ON settlements (settled_at_ms) WHERE source = 'payment';

-- Confirmations by kind, and the stage that was slow (`shared/claims/budgets.py`); an empty stage: within the deadline.
-- Each process adds what it has counted, so several add up. An hour a row, kept as long as `budgets_store.KEPT_MS` says.
CREATE TABLE budget_counts (
  hour_ms  bigint NOT NULL,
  kind     text COLLATE "C" NOT NULL,
  stage    text COLLATE "C" NOT NULL,
  count    bigint NOT NULL CHECK (count > 0),
  PRIMARY KEY (hour_ms, kind, stage)
);

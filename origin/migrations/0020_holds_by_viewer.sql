-- By viewer alone, whatever became of the hold: an index of what is held, or with the drop in front, is one that the
-- planner may read whole instead, or leave for the drop's other one.
DROP INDEX holds_by_viewer;
CREATE INDEX holds_by_viewer ON holds (viewer);

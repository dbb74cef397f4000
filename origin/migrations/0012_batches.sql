-- An event is looked up by its batch, on whatever day it came: as the first columns of the key, node and number find it
-- in each day's table at once. Behind the day, as they were, each lookup read the whole of every day's index.
ALTER TABLE edge_events DROP CONSTRAINT edge_events_pkey, ADD PRIMARY KEY (node, seq, position, day);

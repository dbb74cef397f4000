"""Settlement over HTTP and from events: proofs, the batching writer, answers, receipts."""

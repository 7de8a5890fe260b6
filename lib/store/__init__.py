"""The replicated, durable state: batches of rows with term, serial and hash chain."""

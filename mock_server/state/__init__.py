"""What the mock keeps outside a request: sessions and limits, in Redis or in memory."""

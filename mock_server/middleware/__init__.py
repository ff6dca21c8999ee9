"""What happens around every request: pure ASGI, one class a file; never a service's business."""

"""Google Drive as destination."""

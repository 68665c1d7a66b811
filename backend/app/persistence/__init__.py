"""What must outlive the process: tables, repository, migrations."""

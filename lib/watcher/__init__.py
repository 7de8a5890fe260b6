"""The watcher and the cron jobs, over LUXI."""

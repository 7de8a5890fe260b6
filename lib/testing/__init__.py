"""The test kit: fake drivers that can fail, a cluster in one process, transcripts."""

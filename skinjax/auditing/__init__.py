"""What audits are made of: classifiers under test, edits, probes, clusters, findings, pages."""

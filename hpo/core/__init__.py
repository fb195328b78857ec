"""What everything else stands on: files and folders of ours."""

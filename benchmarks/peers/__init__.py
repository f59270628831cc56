"""Other beats beside ours, on the same broker and database, each as a real process."""

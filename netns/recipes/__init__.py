"""What people run today: ucarp or keepalived with the scripts that are handed around, as a standard to measure by."""

"""Values to lines and entries. No widget, no store, no clock."""

"""`mtok doctor`: whether everything that the settings name can be used."""

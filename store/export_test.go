package store

// SetMaxFile changes the bound of the file.
func (db *DB) SetMaxFile(bytes int) { db.bolt.MaxSize = bytes }

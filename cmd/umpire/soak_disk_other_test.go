//go:build unix && !linux

package main

// fillDisk does nothing: the disk of another process cannot be filled here.
func (*soak) fillDisk(bool) {}

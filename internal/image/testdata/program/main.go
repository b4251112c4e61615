// Command program is a small program of this module, to be inspected by a test.
package main

func main() {}

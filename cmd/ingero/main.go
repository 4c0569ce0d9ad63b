// Command ingero says why a GPU job is slow or stuck.
package main

import (
	"os"

	"ingero/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], cli.OSEnv())) }

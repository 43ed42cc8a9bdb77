// Command lab builds the VM lab's kernels and images, cleans its cache, and gives a shell in one of its machines.
//
//	lab build [--deb FILE]...           build everything, with luod from its packages if they are given
//	lab shell [--deb FILE]... SUITE     boot the suite's image on the older kernel, with the console here
//	lab clean                           remove all that was built
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/liveupdate/luod/vmtest/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// debs is a flag that may come more than once.
type debs []string

func (d *debs) String() string { return strings.Join(*d, " ") }

func (d *debs) Set(s string) error {
	*d = append(*d, s)
	return nil
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("say what to do: build, shell SUITE or clean")
	}
	flags := flag.NewFlagSet("lab "+args[0], flag.ContinueOnError)
	var packages debs
	flags.Var(&packages, "deb", "a package `file` to install into the images; may be given more than once")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "build":
		return build(ctx, packages)
	case "clean":
		return lab.Clean()
	case "shell":
		return shell(ctx, packages, lab.Suite(flags.Arg(0)))
	}
	return fmt.Errorf("%q is not one of build, shell, clean", args[0])
}

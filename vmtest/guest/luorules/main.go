// Command luorules tries the rules of luo/luofake/rules on the running kernel, for the
// lab: "luorules now" those that need no jump, "luorules jump" prepares the others and
// has the kernel jump at once into what is loaded, and "luorules after" looks in the
// next kernel. It prints a line for each, and fails if one of them isn't kept.
package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/luofake/rules"
)

func main() {
	verb := ""
	if len(os.Args) == 2 {
		verb = os.Args[1]
	}
	var failed bool
	switch verb {
	case "now":
		failed = now()
	case "jump":
		failed = jump()
	case "after":
		failed = after()
	default:
		fmt.Fprintln(os.Stderr, "luorules: say now, jump or after")
		failed = true
	}
	if failed {
		os.Exit(1)
	}
}

// tell prints what became of a rule, and says whether it failed.
func tell(rule rules.Rule, err error) bool {
	switch {
	case errors.Is(err, rules.ErrSkip):
		fmt.Printf("skip %s: %v\n", rule.Name, err)
		return false
	case err != nil:
		fmt.Printf("FAIL %s: %v\n", rule.Name, err)
		return true
	}
	fmt.Printf("ok   %s\n", rule.Name)
	return false
}

func now() (failed bool) {
	for _, rule := range rules.All {
		if rule.After != nil || rule.FakeOnly != "" {
			continue
		}
		try := &rules.Try{Kernel: rules.Running{}}
		failed = tell(rule, rule.Before(try)) || failed
		try.Close()
	}
	return failed
}

// jump returns only if there is none.
func jump() bool {
	failed := false
	for _, rule := range rules.All {
		if rule.After == nil || rule.FakeOnly != "" {
			continue
		}
		try := &rules.Try{Kernel: rules.Running{}}
		defer try.Close()
		failed = tell(rule, rule.Before(try)) || failed
	}
	if failed {
		return true
	}
	unix.Sync()
	fmt.Printf("FAIL the jump: %v\n", unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC))
	return true
}

func after() (failed bool) {
	for _, rule := range rules.All {
		if rule.After == nil || rule.FakeOnly != "" {
			continue
		}
		try := &rules.Try{Kernel: rules.Running{}}
		failed = tell(rule, rule.After(try)) || failed
		try.Close()
	}
	return failed
}

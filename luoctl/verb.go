package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// shim is what the link points to.
const shim = "/usr/lib/luod/systemctl-shim"

// completion is what bash loads for systemctl, and completionLink where it looks
// before it looks for systemctl's own (bash-completion's README).
const (
	completion     = "/usr/lib/luod/systemctl-completion.bash"
	completionLink = "/usr/local/share/bash-completion/completions/systemctl"
)

// candidates are where the link may be: directories for what an admin installs.
var candidates = []string{"/usr/local/sbin", "/usr/local/bin"}

// verbState is what systemctl-verb status says.
type verbState struct {
	// Link is where the shim is enabled, or empty.
	Link string `json:"link"`
	// Root, Sudo and Shell say whether it is found before the real systemctl in
	// root's login path, in sudo's, and in this process's.
	Root  bool `json:"root"`
	Sudo  bool `json:"sudo"`
	Shell bool `json:"shell"`
}

func verbCommand(o *options) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "systemctl-verb",
		Short: "Make 'systemctl live-update' work, or not",
		Long: "systemctl takes no verbs from outside. enable links a program as 'systemctl' to where root's and sudo's PATH\n" +
			"find it first: it hands live-update to luoctl and everything else to the real systemctl.",
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&root, "root", "/", "work on the system in this `DIR`")
	_ = cmd.PersistentFlags().MarkHidden("root")
	cmd.AddCommand(
		&cobra.Command{Use: "enable", Short: "Link it", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := enableVerb(root)
			if err != nil {
				return err
			}
			if err := enableCompletion(root); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "luoctl: the verb works without completion:", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Linked %s to %s: 'systemctl live-update' works.\n", where, shim)
			if s := verbStatus(root); !s.Sudo {
				fmt.Fprintf(cmd.ErrOrStderr(), "sudo's secure_path does not have %s before the real systemctl; add it there, or use 'sudo luoctl live-update'\n", filepath.Dir(where))
			}
			return nil
		}},
		&cobra.Command{Use: "disable", Short: "Remove the link", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s := verbStatus(root)
			if s.Link == "" {
				fmt.Fprintln(cmd.OutOrStdout(), "It is not enabled.")
				return nil
			}
			if err := os.Remove(filepath.Join(root, s.Link)); err != nil {
				return fmt.Errorf("disable the verb: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Removed %s.\n", s.Link)
			if to, err := os.Readlink(filepath.Join(root, completionLink)); err == nil && to == completion {
				if err := os.Remove(filepath.Join(root, completionLink)); err != nil {
					return fmt.Errorf("disable the verb's completion: %w", err)
				}
			}
			return nil
		}},
		&cobra.Command{Use: "status", Short: "Show whether it is linked, and found", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s := verbStatus(root)
			if o.json {
				if err := printJSON(cmd.OutOrStdout(), s); err != nil {
					return err
				}
			} else if s.Link == "" {
				fmt.Fprintln(cmd.OutOrStdout(), "disabled")
			} else {
				yes := map[bool]string{true: "yes", false: "no"}
				fmt.Fprintf(cmd.OutOrStdout(), "enabled: %s\nfound first by root: %s, with sudo: %s, here: %s\n", s.Link, yes[s.Root], yes[s.Sudo], yes[s.Shell])
			}
			if s.Link == "" {
				return &exitCode{3}
			}
			return nil
		}},
	)
	return cmd
}

// enableVerb makes the link in the first directory that root's PATH has before
// the real systemctl's, and returns it. What is there and not ours stays.
func enableVerb(root string) (string, error) {
	if s := verbStatus(root); s.Link != "" {
		return s.Link, nil
	}
	if _, err := os.Stat(filepath.Join(root, shim)); err != nil {
		return "", fmt.Errorf("enable the verb: %w", err)
	}
	path := rootPath(root)
	for _, dir := range candidates {
		if !before(path, dir) {
			continue
		}
		link := filepath.Join(dir, "systemctl")
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", fmt.Errorf("enable the verb: %w", err)
		}
		// Never in place of another: Symlink fails if there is something.
		if err := os.Symlink(shim, filepath.Join(root, link)); errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("enable the verb: %s exists and is not luod's; move it away first", link)
		} else if err != nil {
			return "", fmt.Errorf("enable the verb: %w", err)
		}
		return link, nil
	}
	return "", fmt.Errorf("enable the verb: root's PATH (%s) has neither of %s before the real systemctl", strings.Join(path, ":"), strings.Join(candidates, " and "))
}

// enableCompletion links it unless there is something already.
func enableCompletion(root string) error {
	if _, err := os.Stat(filepath.Join(root, completion)); err != nil {
		return err
	}
	link := filepath.Join(root, completionLink)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if to, err := os.Readlink(link); err == nil && to == completion {
		return nil
	}
	return os.Symlink(completion, link)
}

func verbStatus(root string) verbState {
	var s verbState
	for _, dir := range candidates {
		link := filepath.Join(dir, "systemctl")
		if to, err := os.Readlink(filepath.Join(root, link)); err == nil && to == shim {
			s.Link = link
			s.Root, s.Sudo, s.Shell = before(rootPath(root), dir), before(sudoPath(root), dir), before(filepath.SplitList(os.Getenv("PATH")), dir)
			break
		}
	}
	return s
}

// before says whether path has dir before the places where the real systemctl is
// on one distribution or another.
func before(path []string, dir string) bool {
	at := slices.Index(path, dir)
	if at < 0 {
		return false
	}
	return !slices.ContainsFunc(path[:at], func(p string) bool {
		return slices.Contains([]string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"}, p)
	})
}

var (
	supath     = regexp.MustCompile(`(?m)^\s*ENV_SUPATH\s+(?:PATH=)?(\S+)`)
	securePath = regexp.MustCompile(`(?m)^\s*Defaults\s+secure_path\s*=\s*"?([^"\s]+)`)
)

// rootPath is the PATH of root's logins (login.defs(5)), with the default of
// Debian and Fedora where none is set.
func rootPath(root string) []string {
	if text, err := os.ReadFile(filepath.Join(root, "/etc/login.defs")); err == nil {
		if m := supath.FindSubmatch(text); m != nil {
			return filepath.SplitList(string(m[1]))
		}
	}
	return filepath.SplitList("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

// sudoPath is sudo's secure_path (sudoers(5)), the last that is set; without one
// it is the user's, which is taken for root's.
func sudoPath(root string) []string {
	files, _ := filepath.Glob(filepath.Join(root, "/etc/sudoers.d/*"))
	path := rootPath(root)
	for _, file := range append([]string{filepath.Join(root, "/etc/sudoers")}, files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, m := range securePath.FindAllSubmatch(text, -1) {
			path = filepath.SplitList(string(m[1]))
		}
	}
	return path
}

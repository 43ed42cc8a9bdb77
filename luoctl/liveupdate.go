package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/spf13/cobra"
)

// updateFlags are those of live-update alone.
type updateFlags struct {
	verify, dryRun, noBlock, ignoreInhibitors, fast, noWall bool
	when, message, checkInhibitors                          string
	at                                                      time.Time
}

func liveUpdateCommand(o *options) *cobra.Command {
	var f kernelFlags
	var u updateFlags
	cmd := &cobra.Command{
		Use:   "live-update [ENTRY]",
		Short: "Boot another kernel, with everything that was handed over",
		Long: "Check everything, pack what services handed over, shut down and boot the kernel that is loaded, which\n" +
			"gives it back. " + entryHelp + "what is loaded, or else the default boot entry.\n" +
			"Returns when the shutdown has begun; before that any error means that nothing was stopped.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch u.checkInhibitors {
			case "auto", "yes":
			case "no":
				u.ignoreInhibitors = true
			default:
				return fmt.Errorf("--check-inhibitors=%s: it is auto, yes or no", u.checkInhibitors)
			}
			switch u.when {
			case "", "now":
			case "cancel":
				return cancel(cmd, o, "the schedule was cancelled")
			case "show":
				return showSchedule(cmd, o)
			default:
				var err error
				if u.at, err = parseWhen(u.when, time.Now()); err != nil {
					return err
				}
			}
			d, err := connect(o)
			if err != nil {
				return err
			}
			defer d.close()
			load := len(args) > 0 || f.given()
			if load && u.dryRun {
				return fmt.Errorf("naming a kernel loads it, and --dry-run changes nothing: see 'luoctl check', or load it first with 'luoctl load'")
			}
			stop := d.follow(cmd.ErrOrStderr())
			defer stop()
			if load {
				if _, err := d.kernel(cmd.Context(), "Load", args, f); err != nil {
					return err
				}
			}
			generation, err := d.liveUpdate(cmd.Context(), u, f.force)
			if refused(err, "NoKernelLoaded") && !u.dryRun {
				// As systemctl kexec does.
				if _, err := d.kernel(cmd.Context(), "Load", nil, f); err != nil {
					return err
				}
				generation, err = d.liveUpdate(cmd.Context(), u, f.force)
			}
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"generation": generation, "dryRun": u.dryRun})
			}
			if u.dryRun {
				fmt.Fprintf(cmd.OutOrStdout(), "Ready for live update %d.\n", generation)
				return nil
			}
			if !u.at.IsZero() {
				fmt.Fprintf(cmd.OutOrStdout(), "Live update %d is scheduled for %s; take it back with 'luoctl cancel'.\n", generation, u.at.Format(time.DateTime))
				return nil
			}
			if u.noBlock {
				fmt.Fprintf(cmd.OutOrStdout(), "Live update %d is being prepared; see 'luoctl status'.\n", generation)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Live update %d has begun: the system shuts down and boots the loaded kernel.\n", generation)
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&u.verify, "verify", false, "compare the SHA-256 of everything sealed against writing, before and after")
	cmd.Flags().BoolVar(&u.dryRun, "dry-run", false, "do all checks and nothing else")
	cmd.Flags().BoolVar(&u.noBlock, "no-block", false, "do not wait until the shutdown has begun")
	cmd.Flags().StringVar(&u.when, "when", "", "begin at this `TIME`, such as '+30min' or '22:30'; or 'show' or 'cancel' what is scheduled")
	cmd.Flags().BoolVar(&u.fast, "fast", false, "stop only services that take part, freeze the file systems, and jump at once")
	cmd.Flags().StringVar(&u.message, "message", "", "say `TEXT` to who is logged in, to the log, and to hooks")
	cmd.Flags().BoolVar(&u.noWall, "no-wall", false, "do not tell who is logged in")
	cmd.Flags().StringVar(&u.checkInhibitors, "check-inhibitors", "auto", "refuse if there are inhibitors: `auto`, yes or no")
	cmd.Flags().BoolVarP(&u.ignoreInhibitors, "ignore-inhibitors", "i", false, "go on in spite of inhibitors")
	return cmd
}

func (d *daemon) liveUpdate(ctx context.Context, u updateFlags, force []string) (generation uint64, err error) {
	options := map[string]dbus.Variant{"verify": dbus.MakeVariant(u.verify), "dry-run": dbus.MakeVariant(u.dryRun)}
	if len(force) > 0 {
		options["override"] = dbus.MakeVariant(force)
	}
	if u.noBlock {
		options["no-block"] = dbus.MakeVariant(true)
	}
	if !u.at.IsZero() {
		options["when"] = dbus.MakeVariant(uint64(u.at.UnixMicro()))
	}
	for name, set := range map[string]bool{"ignore-inhibitors": u.ignoreInhibitors, "fast": u.fast, "no-wall": u.noWall} {
		if set {
			options[name] = dbus.MakeVariant(true)
		}
	}
	if u.message != "" {
		options["message"] = dbus.MakeVariant(u.message)
	}
	defer d.cancelOnInterrupt()()
	err = d.call(context.WithoutCancel(ctx), "LiveUpdate", options).Store(&generation)
	if refused(err, "org.freedesktop.DBus.Error.NoReply") && !u.dryRun && u.at.IsZero() && !u.noBlock {
		return d.becomes(context.WithoutCancel(ctx), err)
	}
	return generation, err
}

// becomes waits for what becomes of an update whose caller got no answer, which is why: it
// goes on if only luod-bus was restarted, and is taken back if luod was.
func (d *daemon) becomes(ctx context.Context, why error) (generation uint64, err error) {
	for patience := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		s, err := d.status(ctx)
		switch {
		case err != nil && time.Now().After(patience):
			return 0, fmt.Errorf("%w; and luod does not say what has become of the live update: %w", why, err)
		case err != nil:
			continue
		case s.Phase == string(phase.Committed):
			return s.Generation + 1, nil
		case phase.Phase(s.Phase).Underway():
			patience = time.Now().Add(30 * time.Second)
		case s.LastError != "":
			return 0, fmt.Errorf("%w; the live update was taken back: %s", why, s.LastError)
		default:
			return 0, fmt.Errorf("%w; no live update is under way", why)
		}
	}
}

// cancelOnInterrupt makes the first Ctrl-C take the update back; its call then
// ends with the reason.
func (d *daemon) cancelOnInterrupt() (stop func()) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		if _, ok := <-interrupts; ok {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := d.call(ctx, "Cancel", "interrupted by Ctrl-C").Err; err != nil {
				fmt.Fprintln(os.Stderr, "luoctl: "+err.Error())
			}
		}
	}()
	return func() {
		signal.Stop(interrupts)
		close(interrupts)
	}
}

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"
)

func TestReportsAsPeopleReadThem(t *testing.T) {
	r := report{
		Generation: 2, OldKernel: "7.2.13", Kernel: "7.3.4", Complete: true,
		Files: []reportFile{
			{Unit: "a.service", Name: "table", Size: 1 << 20, Outcome: "preserved", Verified: true},
			{Unit: "a.service", Name: "own", Outcome: "preserved", Session: true},
			{Unit: "a.service", Name: "kept", Outcome: "preserved", Carrier: "PID 1"},
			{Unit: "a.service", Name: "recreate:1:listen", Outcome: "re-created"},
			{Unit: "a.service", Name: "same:2:table", Outcome: "preserved", Shared: true},
			{Unit: "d.service", Name: "recreate:0:log", Outcome: "to be re-created"},
			{Unit: "b<&>.service", Name: "x", Size: 12, Outcome: "lost", Reason: "its SHA-256 is different"},
		},
		LeftBehind: []leftBehind{{"c.service", "it did not say Ready within 4s"}},
		TimeLine: []mark{
			{"trigger", 1_000_000}, {"checked", 2_900_000}, {"prepared", 2_930_000}, {"packed", 2_960_000}, {"kernel started", 6_750_000},
			{"luod started", 11_600_000}, {"restored", 12_000_000}, {"fetched a.service", 12_400_000}, {"fetched b<&>.service", 13_000_000}, {"done", 13_000_000},
		},
	}
	for name, show := range map[string]func(io.Writer, report) error{"report": printReport, "blame": printBlame, "plot": printPlot} {
		var b bytes.Buffer
		if err := show(&b, r); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
		if name == "plot" {
			d := xml.NewDecoder(&b)
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal("the plot is no XML: ", err)
				}
			}
		}
	}
	var b bytes.Buffer
	for _, show := range []func(io.Writer, report) error{printReport, printBlame, printPlot} {
		if err := show(&b, report{Generation: 1}); err != nil {
			t.Error(err)
		}
	}
}

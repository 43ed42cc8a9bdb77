package main

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPID1IsToldTheLatestAndNotEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		told := &teller{notify: func(state string) error {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, state)
			return nil
		}}
		expect := func(want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(said, want) {
				t.Errorf("said %q, want %q", said, want)
			}
			said = nil
		}
		told.Set("starting")
		expect()
		if err := told.Ready(); err != nil {
			t.Fatal(err)
		}
		expect("READY=1\nSTATUS=starting")
		told.Set("call 0")
		synctest.Wait()
		expect("STATUS=call 0")
		for i := range 100 {
			told.Set(fmt.Sprint("call ", i))
		}
		synctest.Wait()
		expect()
		time.Sleep(tellingInterval + 1)
		synctest.Wait()
		expect("STATUS=call 99")
		time.Sleep(tellingInterval + 1)
		told.Set("call 99")
		synctest.Wait()
		expect()
		told.Set("idle")
		synctest.Wait()
		expect("STATUS=idle")
		time.Sleep(2 * tellingInterval)
	})
}

// Command agent is the lab's hand in a guest: it says that the guest has booted, and runs the scripts that the test sends.
package main

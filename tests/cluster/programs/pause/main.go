// Command pause is the first process of every pod: it holds the pod's namespaces and takes in orphans until it is told
// to end. Kubernetes' own is an image on a registry, which this cluster does without.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			ended, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if ended <= 0 || err != nil {
				break
			}
		}
	}
}

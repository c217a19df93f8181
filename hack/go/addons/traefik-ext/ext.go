// Package ext stands for a module inside Traefik's repository that no proxy serves: the fields that a commercial
// edition adds to the dynamic configuration. There are none here.
package ext

// HTTP is what is added to the HTTP configuration.
type HTTP struct{}

// Router is what is added to a router.
type Router struct{}

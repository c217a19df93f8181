// Command ingress-controller is an Ingress controller made of Traefik's parts: Traefik's Kubernetes provider reads Ingresses,
// Services and Secrets, Traefik's rules match requests, Traefik's store picks the certificate. What is left out is all
// the rest: other providers, middlewares, ACME and, with them, the modules of a hundred name servers' operators.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/ingress"
	"github.com/traefik/traefik/v3/pkg/safe"
	traefiktls "github.com/traefik/traefik/v3/pkg/tls"
)

// Set when it is linked.
var version = "unknown"

const (
	readHeaderTimeout = 10 * time.Second
	throttle          = 100 * time.Millisecond
)

func main() {
	web := flag.String("web", ":8000", "address of HTTP")
	webSecure := flag.String("web-secure", ":8443", "address of HTTPS")
	health := flag.String("health", ":8080", "address of /ping")
	class := flag.String("class", "", "name of the IngressClass; all whose controller is Traefik's when empty")
	showVersion := flag.Bool("version", false, "tell the version of Traefik's parts")
	flag.Parse()
	if *showVersion {
		println("ingress-controller", version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	routes, certificates := &Routes{}, traefiktls.NewManager(nil)
	configurations := make(chan dynamic.Message)
	provider := &ingress.Provider{IngressClass: *class, StrictPrefixMatching: true, AllowEmptyServices: true}
	provider.ThrottleDuration.Set(throttle.String())
	if err := provider.Provide(configurations, safe.NewPool(ctx)); err != nil {
		log.Fatal(err)
	}
	go serve(*health, routes.healthHandler(), nil)
	go serve(*web, routes, nil)
	go serve(*webSecure, routes, &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return certificates.Get(traefiktls.DefaultTLSStoreName, traefiktls.DefaultTLSConfigName)
		},
	})
	for {
		select {
		case <-ctx.Done():
			return
		case message := <-configurations:
			update(ctx, message.Configuration, routes, certificates)
		}
	}
}

func update(ctx context.Context, found *dynamic.Configuration, routes *Routes, certificates *traefiktls.Manager) {
	var pairs []*traefiktls.CertAndStores
	if found.TLS != nil {
		pairs = found.TLS.Certificates
	}
	options := map[string]traefiktls.Options{traefiktls.DefaultTLSConfigName: traefiktls.DefaultTLSOptions}
	certificates.UpdateConfigs(ctx, nil, options, pairs)
	if err := routes.Update(found.HTTP); err != nil {
		log.Print(err)
	}
}

func serve(address string, handler http.Handler, config *tls.Config) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout}
	log.Fatal(server.Serve(listener))
}

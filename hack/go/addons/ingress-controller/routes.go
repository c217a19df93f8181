package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	muxer "github.com/traefik/traefik/v3/pkg/muxer/http"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/ingress"
)

// Routes answers requests as the newest configuration says, and by 503 before there is one.
type Routes struct {
	current atomic.Pointer[http.Handler]
}

// Update takes a new configuration; the one before stays when this one cannot be understood.
func (r *Routes) Update(configuration *dynamic.HTTPConfiguration) error {
	parser, err := muxer.NewSyntaxParser()
	if err != nil {
		return err
	}
	rules := muxer.NewMuxer(parser, nil)
	for name, router := range configuration.Routers {
		backend, err := newBackend(configuration.Services, router.Service)
		if err != nil {
			return fmt.Errorf("router %s: %w", name, err)
		}
		priority := router.Priority
		if priority == 0 {
			priority = muxer.GetRulePriority(router.Rule)
		}
		if err := rules.AddRoute(router.Rule, router.RuleSyntax, priority, ingress.ProviderName, backend); err != nil {
			return fmt.Errorf("router %s: %w", name, err)
		}
	}
	decorated, err := requestdecorator.WrapHandler(requestdecorator.New(nil))(rules)
	if err != nil {
		return err
	}
	r.current.Store(&decorated)
	return nil
}

func (r *Routes) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	handler := r.current.Load()
	if handler == nil {
		http.Error(response, "no configuration yet", http.StatusServiceUnavailable)
		return
	}
	(*handler).ServeHTTP(response, request)
}

// healthHandler answers 200 as soon as there is a configuration.
func (r *Routes) healthHandler() http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		if r.current.Load() == nil {
			response.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// newBackend returns a proxy to any of the servers of a service, and 503 when it has none.
func newBackend(services map[string]*dynamic.Service, name string) (http.Handler, error) {
	service, ok := services[name]
	if !ok || service.LoadBalancer == nil {
		return nil, fmt.Errorf("service %q is none that balances between servers", name)
	}
	targets := make([]*url.URL, 0, len(service.LoadBalancer.Servers))
	for _, server := range service.LoadBalancer.Servers {
		target, err := url.Parse(server.URL)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	if len(targets) == 0 {
		return http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
			http.Error(response, "no available server", http.StatusServiceUnavailable)
		}), nil
	}
	return &httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(targets[rand.IntN(len(targets))])
		request.Out.Host = request.In.Host
		request.SetXForwarded()
	}}, nil
}

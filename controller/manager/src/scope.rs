//! THE wiring: what is watched, whom a change wakes, and who acts.
//!
//! A scope is one watched namespace, or all of them. References stay within a namespace, so scopes
//! know nothing of each other.
//!
//! | a change of | wakes, beside itself |
//! | --- | --- |
//! | Domain | its Clusters, their Services, the namespace's ObjectReplicas |
//! | Cluster | its Domain, Machines and Services, the namespace's ObjectReplicas, Clusters promoted from it |
//! | Machine | its Cluster, that Cluster's Domain and Services |
//! | Service | its Cluster, that Cluster's Domain, Services that depend on it, Machines that have not made its checks |
//! | ObjectReplica | nobody |

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cim_crds::{Cluster, Domain, Kind, Machine, ObjectReplica, Service};
use futures::{FutureExt, StreamExt, stream};
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::delivery::Workshop;
use crate::driver::{Driver, Means, Reconciler, fingerprint};
use crate::ops::metrics::Metrics;
use crate::ops::readiness::Readiness;
use crate::ops::telemetry::chain;
use crate::watch::{Cache, Seen, Wake, Wakes, Watch, wake};

/// A task that should run for ever has ended.
#[derive(Debug, thiserror::Error)]
#[error("a task of the controller ended by itself: {0}")]
pub struct Ended(String);

/// What is known of the five kinds. Clones share it.
#[derive(Clone)]
pub struct Caches {
    /// Domains.
    pub domains: Cache<Domain>,
    /// Clusters.
    pub clusters: Cache<Cluster>,
    /// Machines.
    pub machines: Cache<Machine>,
    /// Services.
    pub services: Cache<Service>,
    /// ObjectReplicas.
    pub replicas: Cache<ObjectReplica>,
}

/// Wakes objects of the five kinds.
#[derive(Clone)]
struct Wakers {
    domains: Wake<Domain>,
    clusters: Wake<Cluster>,
    machines: Wake<Machine>,
    services: Wake<Service>,
    replicas: Wake<ObjectReplica>,
}

/// One watched namespace, or all of them: its watches, caches and controllers.
pub struct Scope {
    tasks: Tasks,
    watches: JoinSet<()>,
    controllers: JoinSet<()>,
}

/// What every controller of a scope is started with.
struct Tasks {
    means: Means,
    readiness: Readiness,
    debounce: Duration,
    stop: CancellationToken,
}

/// One kind before it is started.
struct Line<K: Kind> {
    watch: Watch<K>,
    wake: Wake<K>,
    wakes: Wakes<K>,
}

impl<K: Kind> Line<K> {
    fn new(client: &Client, namespace: Option<&str>, metrics: &Metrics) -> Self {
        let watch = Watch::new(K::KIND, client.clone(), namespace, fingerprint, metrics.clone());
        let (wake, wakes) = wake(K::KIND, metrics.clone());
        Self { watch, wake, wakes }
    }
}

impl Scope {
    /// Starts everything that acts in `namespace` (all without).
    pub fn start(
        client: &Client,
        namespace: Option<&str>,
        args: &Args,
        means: &Means,
        workshop: &Arc<Workshop>,
        readiness: &Readiness,
        stop: &CancellationToken,
    ) -> Self {
        let metrics = &means.metrics;
        let mut domains = Line::<Domain>::new(client, namespace, metrics);
        let mut clusters = Line::<Cluster>::new(client, namespace, metrics);
        let mut machines = Line::<Machine>::new(client, namespace, metrics);
        let mut services = Line::<Service>::new(client, namespace, metrics);
        let replicas = Line::<ObjectReplica>::new(client, namespace, metrics);
        let caches = Caches {
            domains: domains.watch.cache(),
            clusters: clusters.watch.cache(),
            machines: machines.watch.cache(),
            services: services.watch.cache(),
            replicas: replicas.watch.cache(),
        };
        let wakers = Wakers {
            domains: domains.wake.clone(),
            clusters: clusters.wake.clone(),
            machines: machines.wake.clone(),
            services: services.wake.clone(),
            replicas: replicas.wake.clone(),
        };
        domains.watch = domains.watch.tell(wakers.of_domain(&caches));
        clusters.watch = clusters.watch.tell(wakers.of_cluster(&caches));
        machines.watch = machines.watch.tell(wakers.of_machine(&caches));
        services.watch = services.watch.tell(wakers.of_service(&caches));

        let mut scope = Self {
            tasks: Tasks {
                means: means.clone(),
                readiness: readiness.clone(),
                debounce: args.schedule.debounce,
                stop: stop.clone(),
            },
            watches: JoinSet::new(),
            controllers: JoinSet::new(),
        };
        let schedule = &args.schedule;
        let quick = args.outside.reconcile_timeout;
        let slow = args.outside.delivery_timeout;
        let cluster =
            crate::cluster::Reconciler::new(caches.clone(), namespace, Arc::clone(workshop));
        scope.run(clusters, cluster, schedule.cluster_concurrency, slow, &caches);
        let machine = crate::machine::Reconciler::new(caches.clone(), Arc::clone(workshop));
        scope.run(machines, machine, schedule.machine_concurrency, slow, &caches);
        let timeout = args.outside.external_timeout;
        let domain = crate::domain::Reconciler::new(caches.clone(), metrics.clone(), timeout);
        scope.run(domains, domain, schedule.domain_concurrency, quick, &caches);
        let service = crate::service::Reconciler::new(caches.clone(), metrics.clone(), timeout);
        scope.run(services, service, schedule.service_concurrency, quick, &caches);
        let replica =
            crate::object_replica::Reconciler::new(caches.clone(), metrics.clone(), timeout);
        scope.run(replicas, replica, schedule.object_replica_concurrency, slow, &caches);
        scope
    }

    /// Starts the watch and the controller of one kind.
    fn run<R: Reconciler>(
        &mut self,
        line: Line<R::Kind>,
        reconciler: R,
        concurrency: u16,
        deadline: Duration,
        caches: &Caches,
    ) {
        let Line { watch, wake, wakes } = line;
        let (one, all) = wakes.streams();
        let driver = Arc::new(Driver::new(reconciler, self.tasks.means.clone(), deadline));
        let forgets = Arc::clone(&driver);
        let watch = watch.tell(move |seen| match seen {
            Seen::Changed { object, own: true, .. } => wake.one(ObjectRef::from_obj(&**object)),
            Seen::Changed { .. } => {}
            Seen::Gone { object } => forgets.forget(object),
        });
        let controller = Controller::for_stream(
            stream::pending::<watcher::Result<R::Kind>>(),
            watch.cache().store(),
        )
        .with_config(
            controller::Config::default().concurrency(concurrency).debounce(self.tasks.debounce),
        )
        .reconcile_on(one)
        .reconcile_all_on(all)
        .graceful_shutdown_on(self.tasks.stop.clone().cancelled_owned());
        let synced = caches.clone();
        self.watches.spawn(watch.run(self.tasks.readiness.clone()));
        self.controllers.spawn(async move {
            // Absence in a cache means something only when all are complete.
            if !synced.synced().await {
                return;
            }
            driver.begin();
            controller
                .run(
                    |object, driver: Arc<Driver<R>>| {
                        driver.reconcile(object).map(Ok::<_, Infallible>)
                    },
                    |_, never, _| match *never {},
                    driver,
                )
                .for_each(|visited| async {
                    if let Err(error) = visited {
                        // The object went between the wake and the visit.
                        tracing::debug!(kind = R::Kind::KIND, error = chain(&error), "not visited");
                    }
                })
                .await;
        });
    }

    /// Waits for the end of a task that should not end.
    pub async fn ended(&mut self) -> Ended {
        let ended = tokio::select! {
            Some(ended) = self.watches.join_next() => ("watch", ended),
            Some(ended) = self.controllers.join_next() => ("controller", ended),
        };
        match ended {
            (task, Ok(())) => Ended(format!("a {task} has nothing more to do")),
            (task, Err(error)) => Ended(format!("a {task} failed: {error}")),
        }
    }

    /// Waits until the visits under way have ended, after `stop` was cancelled.
    pub async fn finish(&mut self) {
        while self.controllers.join_next().await.is_some() {}
    }
}

impl Caches {
    /// Objects of a namespace that name something and do not fit their schema: `Machine/host1`.
    pub fn unreadable(&self, namespace: &str) -> Vec<String> {
        let of = |kind: &'static str, names: Vec<String>| {
            names.into_iter().map(move |name| format!("{kind}/{name}"))
        };
        of(Cluster::KIND, self.clusters.unreadable(namespace))
            .chain(of(Machine::KIND, self.machines.unreadable(namespace)))
            .chain(of(Service::KIND, self.services.unreadable(namespace)))
            .collect()
    }

    /// Waits until each cache is complete; `false` when a watch has ended.
    async fn synced(&self) -> bool {
        let Self { domains, clusters, machines, services, replicas } = self;
        domains.synced().await
            && clusters.synced().await
            && machines.synced().await
            && services.synced().await
            && replicas.synced().await
    }
}

fn namespace_of<K: Kind>(object: &K) -> String {
    object.namespace().unwrap_or_default()
}

/// Wakes those whom a change of one object concerns.
impl Wakers {
    fn of_domain(&self, caches: &Caches) -> impl Fn(&Seen<Domain>) + Send + 'static {
        let (wakers, caches) = (self.clone(), caches.clone());
        move |seen| {
            let Some(domain) = seen.for_dependents() else { return };
            let (namespace, name) = (namespace_of(&**domain), domain.name_any());
            for cluster in caches.clusters.list(&namespace) {
                if cluster.spec.domain == name {
                    wakers.cluster_and_services(&caches, &namespace, &cluster.name_any());
                }
            }
            wakers.all_replicas(&caches, &namespace);
        }
    }

    fn of_cluster(&self, caches: &Caches) -> impl Fn(&Seen<Cluster>) + Send + 'static {
        let (wakers, caches) = (self.clone(), caches.clone());
        move |seen| {
            let Some(cluster) = seen.for_dependents() else { return };
            let (namespace, name) = (namespace_of(&**cluster), cluster.name_any());
            wakers.domains.named(&namespace, &cluster.spec.domain);
            for machine in caches.machines.list(&namespace) {
                if machine.spec.cluster == name {
                    wakers.machines.named(&namespace, &machine.name_any());
                }
            }
            wakers.services_of(&caches, &namespace, &name);
            for other in caches.clusters.list(&namespace) {
                if other.spec.promotion.as_ref().is_some_and(|promotion| promotion.from == name) {
                    wakers.clusters.named(&namespace, &other.name_any());
                }
            }
            wakers.all_replicas(&caches, &namespace);
        }
    }

    fn of_machine(&self, caches: &Caches) -> impl Fn(&Seen<Machine>) + Send + 'static {
        let (wakers, caches) = (self.clone(), caches.clone());
        move |seen| {
            let Some(machine) = seen.for_dependents() else { return };
            let namespace = namespace_of(&**machine);
            let cluster = &machine.spec.cluster;
            wakers.cluster_and_services(&caches, &namespace, cluster);
            wakers.domain_of(&caches, &namespace, cluster);
        }
    }

    fn of_service(&self, caches: &Caches) -> impl Fn(&Seen<Service>) + Send + 'static {
        let (wakers, caches) = (self.clone(), caches.clone());
        move |seen| {
            let Some(service) = seen.for_dependents() else { return };
            let (namespace, name) = (namespace_of(&**service), service.name_any());
            wakers.clusters.named(&namespace, &service.spec.cluster);
            wakers.domain_of(&caches, &namespace, &service.spec.cluster);
            for other in caches.services.list(&namespace) {
                let depends = other.spec.depends_on.iter().any(|dependency| {
                    matches!(dependency, cim_crds::service::Dependency::Service(on) if *on == name)
                });
                if depends {
                    wakers.services.named(&namespace, &other.name_any());
                }
            }
            wakers.checking(&caches, &namespace, service);
        }
    }

    /// Wakes the Machines that are to make checks of `service` and have not made those of its present
    /// spec. Those that have are left alone: a visit costs more than it would tell.
    fn checking(&self, caches: &Caches, namespace: &str, service: &Service) {
        if service.spec.checks.is_empty() {
            return;
        }
        let name = service.name_any();
        let made = |machine: &Machine| {
            let services = machine.status.iter().flat_map(|status| &status.services);
            services.into_iter().any(|seen| {
                seen.name == name && Some(seen.generation) == service.metadata.generation
            })
        };
        let roles = service.status.iter().flat_map(|status| &status.roles);
        for machine in roles.flat_map(|role| &role.machines) {
            if caches.machines.get(namespace, machine).is_some_and(|machine| !made(&machine)) {
                self.machines.named(namespace, machine);
            }
        }
    }

    fn cluster_and_services(&self, caches: &Caches, namespace: &str, cluster: &str) {
        self.clusters.named(namespace, cluster);
        self.services_of(caches, namespace, cluster);
    }

    fn services_of(&self, caches: &Caches, namespace: &str, cluster: &str) {
        for service in caches.services.list(namespace) {
            if service.spec.cluster == cluster {
                self.services.named(namespace, &service.name_any());
            }
        }
    }

    fn domain_of(&self, caches: &Caches, namespace: &str, cluster: &str) {
        if let Some(cluster) = caches.clusters.get(namespace, cluster) {
            self.domains.named(namespace, &cluster.spec.domain);
        }
    }

    fn all_replicas(&self, caches: &Caches, namespace: &str) {
        for replica in caches.replicas.list(namespace) {
            self.replicas.named(namespace, &replica.name_any());
        }
    }
}

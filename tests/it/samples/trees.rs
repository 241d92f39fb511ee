//! The trees of the sample pull requests. Large ones are generated.

use std::fmt::Write;

use serde_json::{Value, json};
use support::repository::TestRepository;

/// A pull request: its base, and what it changes.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) base: fn(&TestRepository),
    pub(super) head: fn(&TestRepository),
}

/// One image changes.
pub(super) const TINY: Sample = Sample {
    base: |top| {
        root(top, "shop");
        top.write("deploy/web.yaml", Deployment::new("web").yaml() + "---\n" + &service("web", "ClusterIP", &["web"]));
        top.write("deploy/cm.yaml", config("web", &[("LOG_LEVEL", "info")]));
    },
    head: |top| {
        let web = Deployment { image: "registry.example.com/shop/web:1.4.1".into(), ..Deployment::new("web") };
        top.write("deploy/web.yaml", web.yaml() + "---\n" + &service("web", "ClusterIP", &["web"]));
    },
};

/// Forty objects of six projects change, and some of the changes are risky.
pub(super) const FORTY: Sample = Sample { base: forty_base, head: forty_head };

/// The same two changes to 400 workloads, and one deletion.
pub(super) const FLEET: Sample = Sample {
    base: |top| {
        root(top, "fleet");
        fleet(top, "256Mi", "v1");
    },
    head: |top| {
        fleet(top, "512Mi", "v2");
        top.remove("deploy/team-39/svc-39-09.yaml");
    },
};

/// Long lists, a long CRD, long texts, and documents inside of texts.
pub(super) const LONG: Sample = Sample { base: long_base, head: long_head };

/// A move between projects, a renamed ConfigMap, and edits of lists.
pub(super) const MOVES: Sample = Sample { base: moves_base, head: moves_head };

/// Secrets, a hidden field, and large new objects.
pub(super) const SECRETS: Sample = Sample { base: secrets_base, head: secrets_head };

/// 5,000 deletions in 50 projects.
pub(super) const MASS: Sample = Sample {
    base: |top| {
        root(top, "mass");
        for team in 0..50_u64 {
            top.write(format!("deploy/team-{team:02}/.ktor.yaml"), format!("project: team-{team:02}\n"));
            let name = |n: u64| format!("svc-{:012x}", (team * 100 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16);
            let objects = (0..100).map(|n| config(&name(n), &[("LOG_LEVEL", "info")]));
            top.write(format!("deploy/team-{team:02}/all.yaml"), objects.collect::<Vec<_>>().join("---\n"));
        }
    },
    head: |top| {
        top.remove("deploy");
        root(top, "mass");
        top.write("deploy/keep.yaml", config("keep", &[("a", "b")]));
    },
};

/// 3,600 deletions of objects with long names.
pub(super) const LONG_NAMES: Sample = Sample {
    base: |top| {
        root(top, "mass");
        for file in 0..60_u64 {
            let name = |n: u64| {
                let mixed = (file * 60 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                format!("svc-{mixed:016x}{:016x}01234567", mixed.rotate_left(29))
            };
            let objects = (0..60).map(|n| config(&name(n), &[("a", "b")]));
            top.write(format!("deploy/t{file:02}/all.yaml"), objects.collect::<Vec<_>>().join("---\n"));
        }
        top.write("deploy/keep.yaml", config("keep", &[("a", "b")]));
    },
    head: |top| {
        for file in 0..60 {
            top.remove(format!("deploy/t{file:02}"));
        }
    },
};

fn root(top: &TestRepository, name: &str) {
    top.write("deploy/.ktor.yaml", format!("project: {name}\ncleanup: true\nnamespace: {name}\n"));
}

/// The parts of a Deployment that the samples vary.
struct Deployment {
    name: String,
    image: String,
    replicas: u64,
    labels: Vec<(String, String)>,
    memory: &'static str,
    env: Vec<(String, String)>,
    /// Lines below the container.
    more: &'static str,
}

impl Deployment {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: "registry.example.com/shop/web:1.4.0".to_owned(),
            replicas: 3,
            labels: vec![("app".to_owned(), name.to_owned())],
            memory: "256Mi",
            env: Vec::new(),
            more: "",
        }
    }

    fn yaml(&self) -> String {
        let Self { name, image, replicas, labels, memory, env, more } = self;
        let labels = |indent: &str| -> String {
            labels.iter().map(|(name, value)| format!("{indent}{name}: {value}\n")).collect()
        };
        let mut text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels:\n{}spec:\n  replicas: {replicas}\n  \
             selector:\n    matchLabels:\n{}  template:\n    metadata:\n      labels:\n{}    spec:\n      containers:\n        \
             - name: {name}\n          image: {image}\n          resources:\n            requests:\n              cpu: 100m\n              \
             memory: {memory}\n          ports:\n            - containerPort: 8080\n              name: http\n",
            labels("    "),
            labels("      "),
            labels("        ")
        );
        if !env.is_empty() {
            text.push_str("          env:\n");
        }
        for (name, value) in env {
            write!(text, "            - name: {name}\n              value: {}\n", json!(value)).unwrap();
        }
        text + more
    }
}

fn service(name: &str, r#type: &str, values: &[&str]) -> String {
    let names = ["app", "team"];
    let selector: String = names.iter().zip(values).map(|(name, value)| format!("    {name}: {value}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: {type}\n  selector:\n{selector}  ports:\n    - port: \
         80\n      targetPort: http\n      name: http\n"
    )
}

fn config(name: &str, data: &[(&str, &str)]) -> String {
    let mut text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n");
    for (key, value) in data {
        if value.contains('\n') {
            writeln!(text, "  {key}: |").unwrap();
            for line in value.trim_end().lines() {
                writeln!(text, "    {line}").unwrap();
            }
        } else {
            writeln!(text, "  {key}: {}", json!(value)).unwrap();
        }
    }
    text
}

const PROJECTS: [&str; 6] = ["catalog", "checkout", "identity", "search", "platform", "reporting"];
const INGRESS: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: shop\n  annotations:\n    \
    cert-manager.io/cluster-issuer: letsencrypt-prod\nspec:\n  rules:\n    - host: shop.example.com\n      http:\n        paths:\n          \
    - path: /\n            pathType: Prefix\n            backend:\n              service:\n                name: catalog-frontend\n                \
    port:\n                  name: http\n";
const ROLE: &str = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: shop-reader\nrules:\n  - apiGroups: \
    [\"\"]\n    resources: [configmaps]\n    verbs: [get, list]\n";
const CLAIM: &str = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: reports\nspec:\n  accessModes: [ReadWriteOnce]\n  \
    resources:\n    requests:\n      storage: 200Gi\n";

fn oidc(secret: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: oidc\nstringData:\n  client-id: shop\n  client-secret: {secret}\n"
    )
}

/// Writes the three parts of each project.
fn parts(top: &TestRepository, version: &str, is_head: bool) {
    for (project, part) in
        PROJECTS.iter().flat_map(|project| ["api", "worker", "frontend"].map(|part| (*project, part)))
    {
        let name = format!("{project}-{part}");
        let mut deployment =
            Deployment { image: format!("registry.example.com/{project}/{part}:{version}"), ..Deployment::new(&name) };
        let mut r#type = "ClusterIP";
        let mut selector = vec![name.as_str()];
        match name.as_str() {
            "search-api" if is_head => deployment.image = "registry.example.com/search/api:latest".to_owned(),
            "checkout-worker" if is_head => deployment.replicas = 0,
            "catalog-frontend" if is_head => r#type = "LoadBalancer",
            "identity-api" if is_head => {
                deployment.labels.push(("team".to_owned(), "identity".to_owned()));
                selector.push("identity");
            }
            _ => {}
        }
        let level = if is_head && part == "api" { "debug" } else { "info" };
        let data = config(&name, &[("LOG_LEVEL", level), ("CACHE_TTL", "300")]);
        let text = [deployment.yaml(), service(&name, r#type, &selector), data].join("---\n");
        top.write(format!("deploy/{project}/{part}.yaml"), text);
    }
}

fn forty_base(top: &TestRepository) {
    root(top, "shop");
    top.write("deploy/platform/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n");
    for project in PROJECTS {
        top.write(format!("deploy/{project}/.ktor.yaml"), format!("project: {project}\n"));
    }
    parts(top, "2.3.0", false);
    top.write("deploy/reporting/pvc.yaml", CLAIM).write("deploy/identity/secret.yaml", oidc("hunter2hunter2"));
    top.write("deploy/platform/ingress.yaml", INGRESS).write("deploy/platform/rbac.yaml", ROLE);
}

fn forty_head(top: &TestRepository) {
    parts(top, "2.4.0", true);
    top.remove("deploy/reporting/pvc.yaml").remove("deploy/reporting/worker.yaml");
    top.write("deploy/identity/secret.yaml", oidc("correcthorsebattery"));
    top.write("deploy/platform/ingress.yaml", INGRESS.replace("shop.example.com", "www.shop.example.com"));
    let role = ROLE.replace("[configmaps]", "[\"*\"]").replace("[get, list]", "[\"*\"]");
    top.write("deploy/platform/rbac.yaml", role);
    let image = "registry.example.com/search/index:0.1.0".to_owned();
    let index = Deployment { image, ..Deployment::new("search-index") };
    top.write(
        "deploy/search/index.yaml",
        index.yaml() + "---\n" + &service("search-index", "ClusterIP", &["search-index"]),
    );
}

fn fleet(top: &TestRepository, memory: &'static str, sidecar: &str) {
    for team in 0..40 {
        top.write(format!("deploy/team-{team:02}/.ktor.yaml"), format!("project: team-{team:02}\n"));
        for number in 0..10 {
            let name = format!("svc-{team:02}-{number:02}");
            let image = format!("registry.example.com/t{team}/{name}:1.0.0");
            let deployment = Deployment { image, memory, ..Deployment::new(&name) };
            let data = config(&name, &[("LOG_LEVEL", "info"), ("SIDECAR", sidecar)]);
            top.write(format!("deploy/team-{team:02}/{name}.yaml"), deployment.yaml() + "---\n" + &data);
        }
    }
}

fn settings() -> Vec<(String, String)> {
    (0..60).map(|n| (format!("APP_SETTING_{n:02}"), format!("value-{n}"))).collect()
}

fn crd(is_changed: bool) -> String {
    let mut text = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: \
        widgets.example.com\nspec:\n  group: example.com\n  names:\n    kind: Widget\n    plural: widgets\n    singular: widget\n    \
        listKind: WidgetList\n  scope: Namespaced\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      \
        schema:\n        openAPIV3Schema:\n          type: object\n          properties:\n            spec:\n              \
        type: object\n              properties:\n"
        .to_owned();
    for n in 0..1_000 {
        let r#type = if is_changed && [17, 400].contains(&n) { "integer" } else { "string" };
        let more = if is_changed && n % 50 == 0 { " Deprecated." } else { "" };
        write!(
            text,
            "                field{n:04}:\n                  type: {type}\n                  description: Field number {n} of the \
             widget, which says something long about what it means to the operator.{more}\n"
        )
        .unwrap();
    }
    if is_changed {
        text.push_str("                fieldNew:\n                  type: string\n");
    }
    text
}

fn dashboard(is_changed: bool) -> Value {
    let panel = |n: u64| {
        let code = if is_changed && n == 20 { "5..\"}[1m]".to_owned() } else { format!("{n}..\"}}[5m]") };
        let expression = format!("sum(rate(http_requests_total{{job=\"api\",code=~\"{code}))");
        json!({"id": n, "title": format!("Panel {n}"), "type": "graph",
            "targets": [{"expr": expression, "legendFormat": "{{code}}"}],
            "gridPos": {"x": (n % 3) * 8, "y": n / 3 * 8, "w": 8, "h": 8}})
    };
    json!({"title": "API", "panels": (0..40).map(panel).collect::<Vec<_>>()})
}

fn nginx() -> String {
    let server = |n: usize| {
        format!(
            "server {{\n  listen {};\n  server_name host{n}.example.com;\n  location / {{\n    proxy_pass http://backend-{n};\n    \
             proxy_read_timeout 30s;\n  }}\n}}\n",
            8_000 + n
        )
    };
    (0..20).map(server).collect()
}

fn script() -> String {
    let step = |n: usize| format!("step_{n}() {{\n  echo \"step {n}\"\n  curl -fsS http://svc/{n} --max-time 30\n}}\n");
    format!("#!/bin/bash\nset -euo pipefail\n{}", (0..30).map(step).collect::<String>())
}

fn long(top: &TestRepository, is_changed: bool) {
    let board = dashboard(is_changed);
    let pretty = serde_json::to_string_pretty(&board).unwrap();
    top.write("deploy/cm.yaml", config("dashboard", &[("api.json", &pretty), ("compact.json", &board.to_string())]));
    top.write("deploy/crd.yaml", crd(is_changed));
}

fn long_base(top: &TestRepository) {
    root(top, "obs");
    top.write("deploy/api.yaml", Deployment { env: settings(), ..Deployment::new("api") }.yaml());
    long(top, false);
    top.write("deploy/nginx.yaml", config("nginx", &[("nginx.conf", &nginx())]));
    top.write("deploy/script.yaml", config("script", &[("run.sh", &script())]));
}

fn long_head(top: &TestRepository) {
    let mut env = Vec::new();
    for (n, (name, value)) in settings().into_iter().enumerate().filter(|(n, _)| *n != 3) {
        env.push((name, if n % 2 == 0 { value + "-new" } else { value }));
        if n == 10 {
            env.push(("APP_INSERTED".to_owned(), "hello".to_owned()));
        }
    }
    top.write("deploy/api.yaml", Deployment { env, ..Deployment::new("api") }.yaml());
    long(top, true);
    let nginx = nginx().replace("proxy_pass http://backend-7;", "proxy_pass http://backend-7-green;");
    top.write("deploy/nginx.yaml", config("nginx", &[("nginx.conf", &nginx)]));
    let script = script().replace("http://svc/12 --max-time 30", "http://svc/12 --max-time 5");
    top.write("deploy/script.yaml", config("script", &[("run.sh", &script)]));
}

const CART: &str = r#"          args: ["--port=8080", "--log-level=info", "--cache-size=100", "--verbose"]
          volumeMounts:
            - name: config
              mountPath: /etc/cart
      volumes:
        - name: config
          configMap:
            name: cart-config-7f9c2
      tolerations:
        - key: dedicated
          operator: Equal
          value: orders
          effect: NoSchedule
"#;
const CART_AFTER: &str = r#"          args: ["--port=8080", "--log-level=debug", "--cache-size=100", "--trace", "--verbose"]
          volumeMounts:
            - name: config
              mountPath: /etc/cart
      volumes:
        - name: config
          configMap:
            name: cart-config-b81d0
      tolerations:
        - key: dedicated
          operator: Equal
          value: orders
          effect: NoSchedule
        - key: spot
          operator: Exists
"#;
const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: cart\nspec:\n  podSelector:\n    \
    matchLabels: {app: cart}\n  policyTypes: [Ingress]\n  ingress:\n    - from:\n        - podSelector:\n            matchLabels: {app: \
    web}\n        - podSelector:\n            matchLabels: {app: admin}\n      ports:\n        - port: 8080\n";
const LONG_NAME: &str = "a-very-long-service-name-that-follows-the-corporate-naming-convention-v2";
const LONG_KEY: &str = "some.extremely.long.configuration.key.that.java.people.like.to.write";

fn moves_base(top: &TestRepository) {
    root(top, "acme");
    for project in ["payments", "orders"] {
        top.write(format!("deploy/{project}/.ktor.yaml"), format!("project: {project}\n"));
    }
    let ledger = [
        Deployment::new("ledger").yaml(),
        service("ledger", "ClusterIP", &["ledger"]),
        config("ledger", &[("A", "1")]),
    ];
    top.write("deploy/payments/ledger.yaml", ledger.join("---\n"));
    top.write("deploy/orders/cart.yaml", Deployment { more: CART, ..Deployment::new("cart") }.yaml());
    top.write("deploy/orders/cm.yaml", config("cart-config-7f9c2", &[("a", "1"), ("b", "2"), ("c", "3")]));
    top.write("deploy/orders/long.yaml", config(LONG_NAME, &[(LONG_KEY, &"x".repeat(150))]));
    top.write("deploy/orders/np.yaml", POLICY);
}

fn moves_head(top: &TestRepository) {
    top.rename("deploy/payments/ledger.yaml", "deploy/orders/ledger.yaml");
    top.write("deploy/orders/cart.yaml", Deployment { more: CART_AFTER, ..Deployment::new("cart") }.yaml());
    top.write("deploy/orders/cm.yaml", config("cart-config-b81d0", &[("a", "1"), ("b", "22"), ("c", "3")]));
    let value = "x".repeat(140) + &"y".repeat(10);
    top.write("deploy/orders/long.yaml", config(LONG_NAME, &[(LONG_KEY, &value)]));
    let web = "        - podSelector:\n            matchLabels: {app: web}\n";
    assert!(POLICY.contains(web));
    top.write("deploy/orders/np.yaml", POLICY.replace(web, ""));
}

fn secret(name: &str, data: &[(&str, &str)]) -> String {
    let data: String = data.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n{data}")
}

fn secrets_base(top: &TestRepository) {
    top.write("deploy/.ktor.yaml", "project: vault\ncleanup: true\nnamespace: vault\nredact: [/spec/password]\n");
    let db = secret("db", &[("user", "app"), ("password", "oldpassword"), ("host", "db.internal")]);
    top.write("deploy/s.yaml", db + "---\n" + &secret("gone", &[("a", "b")]));
}

fn secrets_head(top: &TestRepository) {
    let db = secret("db", &[("user", "app"), ("password", "newpassword"), ("hostname", "db.internal")]);
    top.write("deploy/s.yaml", db + "---\n" + &secret("fresh", &[("a", "b")]));
    let env = settings().into_iter().take(10).collect();
    let new = Deployment { image: "nginx:latest".to_owned(), env, ..Deployment::new("brandnew") };
    top.write("deploy/new.yaml", new.yaml() + "---\n" + &config("brandnew", &[("nginx.conf", &nginx())]));
    let database = "apiVersion: example.com/v1\nkind: Database\nmetadata:\n  name: main\nspec:\n  password: supersecret\n  size: 3\n";
    top.write("deploy/pw.yaml", database);
}

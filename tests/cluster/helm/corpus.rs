//! Small charts, each with something that charts do, and the arguments with which Helm alone renders them.

/// A tree with a release, and the way to render its chart with Helm alone.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The release file, at `deploy/x.helm.yaml`.
    pub(crate) release: &'static str,
    /// The other files, relative to `deploy`.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// The arguments of Helm in the directory `deploy`, after the name of the release.
    pub(crate) arguments: &'static [&'static str],
    /// The commands of Helm that write archives first, in the directory `deploy`.
    pub(crate) first: &'static [&'static [&'static str]],
    /// The commands of Helm that Helm alone needs first, and that ktor does without.
    pub(crate) alone_first: &'static [&'static [&'static str]],
}

const NOTHING: Case =
    Case { name: "", release: "", files: &[], arguments: &["c", "--include-crds"], first: &[], alone_first: &[] };

const PLAIN: &str = "chart: c\nname: shop\nnamespace: store\n";

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}\n";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "a Deployment and a Service with values of the chart",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: '4.5'\n"),
            ("c/values.yaml", "replicas: 2\nimage: {name: web, tag: ''}\nports: [80, 443]\nlabels: {tier: front}\n"),
            ("c/templates/NOTES.txt", "Thank you for {{ .Release.Name }}.\n"),
            (
                "c/templates/deployment.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n  labels:\n    \
                 {{- toYaml .Values.labels | nindent 4 }}\nspec:\n  replicas: {{ .Values.replicas }}\n  template:\n    spec:\n      \
                 containers:\n      - name: web\n        image: \"{{ .Values.image.name }}:{{ .Values.image.tag | default \
                 .Chart.AppVersion }}\"\n",
            ),
            (
                "c/templates/service.yaml",
                "{{- range .Values.ports }}\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: port-{{ . }}\nspec:\n  \
                 ports: [{port: {{ . }}}]\n{{- end }}\n",
            ),
        ],
        ..NOTHING
    },
    Case {
        name: "values of two files and of the release",
        release: "chart: ./c\nname: shop\nnamespace: store\nvalues-files: [one.yaml, ../two.yaml]\nvalues:\n  c: {d: 3}\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/values.yaml", "a: 0\nb: [0]\nc: {d: 0, e: 0, f: 0}\n"),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {v: {{ .Values | toJson | quote }}}\n",
            ),
            ("one.yaml", "a: 1\nb: [1]\nc: {e: 1}\n"),
            ("../two.yaml", "b: [2, 2]\nc: {f: 0644}\n"),
            ("inline.yaml", "c: {d: 3}\n"),
        ],
        arguments: &["c", "-f", "one.yaml", "-f", "../two.yaml", "-f", "inline.yaml", "--include-crds"],
        ..NOTHING
    },
    Case {
        name: "one file of values, in Kubernator's key",
        release: "chart: c\nname: shop\nnamespace: store\nvalues-file: own.yaml\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {v: {{ .Values.v | quote }}}\n",
            ),
            ("own.yaml", "v: on\n"),
        ],
        arguments: &["c", "-f", "own.yaml"],
        ..NOTHING
    },
    Case {
        name: "helpers and templates in values",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/values.yaml", "text: '{{ .Release.Name }}-{{ include \"name\" . }}'\n"),
            (
                "c/templates/_helpers.tpl",
                "{{- define \"name\" -}}\n{{ .Chart.Name | upper | trunc 2 | lower }}\n{{- end -}}\n",
            ),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"name\" . }}\ndata:\n  v: {{ tpl .Values.text . }}\n",
            ),
        ],
        ..NOTHING
    },
    Case {
        name: "files of the chart",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/config/a.conf", "a = 1\n"),
            ("c/config/deep/b.conf", "b = 2\n"),
            ("c/.helmignore", "*.secret\n"),
            ("c/config/c.secret", "no\n"),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  one: {{ .Files.Get \"config/a.conf\" | quote }}\n  \
                 gone: {{ .Files.Get \"config/c.secret\" | quote }}\n{{ (.Files.Glob \"config/**.conf\").AsConfig | indent 2 }}\n",
            ),
        ],
        ..NOTHING
    },
    Case {
        name: "custom resource definitions",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            (
                "c/crds/one.yaml",
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.c}\n",
            ),
            (
                "c/crds/two.yaml",
                "# two\napiVersion: x/v1\nkind: A\nmetadata: {name: a}\n---\napiVersion: x/v1\nkind: A\nmetadata: {name: b}\n",
            ),
            ("c/templates/x.yaml", "apiVersion: b.c/v1\nkind: A\nmetadata: {name: x}\n"),
        ],
        ..NOTHING
    },
    Case {
        name: "a release without the definitions of its chart",
        release: "chart: c\nname: shop\nnamespace: store\ninclude-crds: false\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            (
                "c/crds/one.yaml",
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.c}\n",
            ),
            ("c/templates/x.yaml", MAP),
        ],
        arguments: &["c"],
        ..NOTHING
    },
    Case {
        name: "charts in the directory charts, one of them off",
        release: "chart: c\nname: shop\nnamespace: store\nvalues: {sub: {v: 2}, off: {enabled: false}, global: {g: 3}}\n",
        files: &[
            (
                "c/Chart.yaml",
                "apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies:\n- {name: sub, version: '*'}\n\
                 - {name: off, version: '*', condition: off.enabled}\n",
            ),
            ("c/templates/x.yaml", MAP),
            ("c/charts/one/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n"),
            ("c/charts/one/values.yaml", "v: 1\n"),
            (
                "c/charts/one/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\ndata: {v: '{{ .Values.v }}', g: '{{ .Values.global.g }}'}\n",
            ),
            ("c/charts/off/Chart.yaml", "apiVersion: v2\nname: off\nversion: 0.1.0\n"),
            ("c/charts/off/templates/x.yaml", MAP),
            ("inline.yaml", "{sub: {v: 2}, off: {enabled: false}, global: {g: 3}}"),
        ],
        arguments: &["c", "-f", "inline.yaml"],
        ..NOTHING
    },
    Case {
        name: "charts that are named by a path, one of them under two names",
        release: PLAIN,
        files: &[
            (
                "c/Chart.yaml",
                "apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies:\n\
                 - {name: common, version: 0.1.0, repository: 'file://../common'}\n\
                 - {name: cache, version: 0.2.0, repository: 'file://../../libs/cache', alias: first}\n\
                 - {name: cache, version: 0.2.0, repository: 'file://../../libs/cache', alias: second}\n",
            ),
            ("c/values.yaml", "second: {size: 2}\n"),
            ("c/templates/x.yaml", "{{ include \"common.map\" . }}"),
            ("common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 0.1.0\ntype: library\n"),
            (
                "common/templates/_map.tpl",
                "{{- define \"common.map\" -}}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n{{- end -}}\n",
            ),
            ("../libs/cache/Chart.yaml", "apiVersion: v2\nname: cache\nversion: 0.2.0\n"),
            ("../libs/cache/values.yaml", "size: 1\n"),
            (
                "../libs/cache/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Chart.Name }}'}\ndata: {size: '{{ .Values.size }}'}\n",
            ),
        ],
        alone_first: &[&["dependency", "build", "c"]],
        ..NOTHING
    },
    Case {
        name: "a chart of the first version with requirements",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v1\nname: web\nversion: 1.2.3\n"),
            ("c/requirements.yaml", "dependencies:\n- {name: sub, version: 0.1.0, repository: 'file://../sub'}\n"),
            ("c/templates/x.yaml", MAP),
            ("sub/Chart.yaml", "apiVersion: v1\nname: sub\nversion: 0.1.0\n"),
            ("sub/templates/x.yaml", MAP),
        ],
        alone_first: &[&["dependency", "build", "c"]],
        ..NOTHING
    },
    Case {
        name: "a chart that asks for versions",
        release: "chart: c\nname: shop\nnamespace: store\nkube-version: 1.30.2\napi-versions: [shop.dev/v1, shop.dev/v1/Till]\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\nkubeVersion: '>=1.20.0-0'\n"),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  version: {{ .Capabilities.KubeVersion | quote }}\n  \
                 minor: {{ .Capabilities.KubeVersion.Minor | quote }}\n  till: '{{ .Capabilities.APIVersions.Has \"shop.dev/v1/Till\" }}'\n  \
                 other: '{{ .Capabilities.APIVersions.Has \"other.dev/v1\" }}'\n  apps: '{{ .Capabilities.APIVersions.Has \"apps/v1\" }}'\n",
            ),
        ],
        arguments: &["c", "--kube-version", "1.30.2", "-a", "shop.dev/v1,shop.dev/v1/Till"],
        ..NOTHING
    },
    Case {
        name: "values that are null",
        release: "chart: c\nname: shop\nnamespace: store\nvalues: {b: null, c: {d: null}}\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/values.yaml", "a: null\nb: 1\nc: {d: 1, e: null}\n"),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {v: {{ .Values | toJson | quote }}}\n",
            ),
            ("inline.yaml", "{b: null, c: {d: null}}"),
        ],
        arguments: &["c", "-f", "inline.yaml"],
        ..NOTHING
    },
    Case {
        name: "hooks that are left out",
        release: "chart: c\nname: shop\nnamespace: store\nhooks: skip\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/templates/x.yaml", MAP),
            (
                "c/templates/job.yaml",
                "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: job\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}\n",
            ),
            (
                "c/templates/after.yaml",
                "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: after\n  annotations: {helm.sh/hook: post-delete}\n",
            ),
        ],
        arguments: &["c", "--no-hooks"],
        ..NOTHING
    },
    Case {
        name: "tests",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/templates/x.yaml", MAP),
            (
                "c/templates/tests/test.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\n  annotations: {helm.sh/hook: test}\n",
            ),
        ],
        arguments: &["c", "--skip-tests"],
        ..NOTHING
    },
    Case {
        name: "a schema with references of its own",
        release: "chart: c\nname: shop\nnamespace: store\nvalues: {ports: [80, 443]}\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            (
                "c/values.schema.json",
                r##"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"ports": {"type": "array",
                    "items": {"$ref": "#/definitions/port"}}}, "definitions": {"port": {"type": "integer", "maximum": 65535}}}"##,
            ),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {v: {{ .Values.ports | toJson | quote }}}\n",
            ),
            ("inline.yaml", "ports: [80, 443]"),
        ],
        arguments: &["c", "-f", "inline.yaml"],
        ..NOTHING
    },
    Case {
        name: "an archive in the directory charts",
        release: PLAIN,
        files: &[
            (
                "c/Chart.yaml",
                "apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies: [{name: sub, version: 0.1.0, repository: 'https://x.invalid'}]\n",
            ),
            ("c/templates/x.yaml", MAP),
            ("sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n"),
            ("sub/templates/x.yaml", MAP),
        ],
        first: &[&["package", "sub", "-d", "c/charts"]],
        ..NOTHING
    },
    Case {
        name: "a chart that is an archive",
        release: "chart: packed/web-1.2.3.tgz\nname: shop\nnamespace: store\n",
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            (
                "c/crds/one.yaml",
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.c}\n",
            ),
            ("c/templates/x.yaml", MAP),
        ],
        arguments: &["packed/web-1.2.3.tgz", "--include-crds"],
        first: &[&["package", "c", "-d", "packed"]],
        ..NOTHING
    },
    Case {
        name: "numbers, texts and lists of objects",
        release: PLAIN,
        files: &[
            ("c/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
            ("c/values.yaml", "large: 12345678901\nfraction: 1.5\nmode: 0644\nyes: yes\ntext: '007'\n"),
            (
                "c/templates/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  one: {{ .Values.large | quote }}\n  two: |\n    \
                 {{- .Values | toYaml | nindent 4 }}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: other}\nmode: 0644\nis: yes\n",
            ),
        ],
        ..NOTHING
    },
];

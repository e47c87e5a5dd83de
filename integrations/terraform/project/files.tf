# Which files there are, and which of them are sent.
# By depth, and what is deeper only if nothing leads back into itself: ** follows a link to its own directory for ever.
module "level_1" {
  source = "./level"
  root   = local.root
  depths = local.depths_1
  sizes  = [1]
}

module "level_2" {
  source = "./level"
  root   = local.root
  depths = local.depths_2
  sizes  = [2]
}

module "level_3" {
  source = "./level"
  root   = local.root
  depths = local.depths_3
  sizes  = [3, 4]
}

module "level_4" {
  source = "./level"
  root   = local.root
  depths = local.depths_4
  sizes  = [5, 6]
}

module "level_5" {
  source = "./level"
  root   = local.root
  depths = local.depths_5
  sizes  = []
}

locals {
  is_local = var.source_dir != null
  root     = var.source_dir != null ? var.source_dir : path.module
  folder   = trim(var.path, "/")
  below    = local.folder == "" ? "" : "${local.folder}/"

  # --- what lies there ---------------------------------------------------------------------------------------------
  depths_1  = local.is_local ? range(0, 5) : []
  depths_2  = length(local.depths_1) > 0 && length(module.level_1.loops) == 0 ? range(5, 8) : []
  depths_3  = length(local.depths_2) > 0 && length(module.level_2.loops) == 0 ? range(8, 14) : []
  depths_4  = length(local.depths_3) > 0 && length(module.level_3.loops) == 0 ? range(14, 20) : []
  depths_5  = length(local.depths_4) > 0 && length(module.level_4.loops) == 0 ? range(20, 40) : []
  levels    = [module.level_1, module.level_2, module.level_3, module.level_4, module.level_5]
  is_listed = alltrue([for level in local.levels : level.names != null])
  listed    = toset(flatten([for level in local.levels : tolist(level.names) if level.names != null]))
  loops     = flatten([for level in local.levels : tolist(level.loops)])
  too_deep  = [for name in local.listed : name if length(split("/", name)) == 40]

  # --- patterns ----------------------------------------------------------------------------------------------------
  # Names that are left out at any depth, the same as in all doors, unless the build file itself names them.
  standard = jsondecode(file("${path.module}/../../../builder/sources/default_excludes.json"))
  is_node  = strcontains(replace(local.build_text, "/(?m)(?:^|\\s)#.*/", ""), "nodejs")
  never    = concat(local.standard.secrets, local.standard.clutter, local.is_node ? [] : local.standard.unless_nodejs)
  words    = distinct(flatten([regexall("[^\\s,:\\[\\]{}\"'\\\\]+", jsonencode(local.naming))]))
  entries  = distinct([for word in local.words : [for part in split("/", word) : part if part != "" && part != "."]])
  wanted = distinct(flatten([
    for parts in local.entries : [
      for end, part in parts : [
        for folder in local.folders : "${folder}${join("/", slice(parts, 0, end + 1))}"
      ] if can(regex(local.never_regex, part))
    ]
  ]))

  # Lines of .gitignore and .lambdaignore at the top: the last one that fits a file decides.
  lines = local.is_local ? flatten([
    for name in var.ignore_files : [
      for line in split("\n", try(fileexists("${local.root}/${name}"), false) ? file("${local.root}/${name}") : "") : trimspace(line)
    ]
  ]) : []
  rules = [
    for line in local.lines : {
      keep = startswith(line, "!")
      glob = "${can(regex("^!?[^/]*/?$", line)) ? "**/" : ""}${trim(trimprefix(line, "!"), "/")}"
      end  = endswith(line, "/") ? "/.*" : "(?:/.*)?"
    } if line != "" && !startswith(line, "#")
  ]

  # As regular expressions, because fileset with a pattern would walk through everything once more for each. Those of
  # the list are made first, since they say which of the others there are.
  globs = toset(concat(
    local.wanted, var.exclude, coalesce(var.executable, []), coalesce(var.layer_inputs, []), local.named, local.rules[*].glob
  ))
  escaped  = { for glob in local.globs : glob => replace(replace(replace(glob, "/[.+^$()|]/", "\\$0"), "[\\^", "[^"), "[!", "[^") }
  starred  = { for glob, text in local.escaped : glob => replace(replace(replace(text, "**/", "\u0001"), "**", "\u0002"), "*", "[^/]*") }
  branched = { for glob, text in local.starred : glob => can(regex("[{]", text)) ? replace(text, ",", "|") : text }
  regexes = {
    for glob, text in local.branched : glob =>
    replace(replace(replace(replace(replace(text, "?", "[^/]"), "{", "(?:"), "}", ")"), "\u0001", "(?:.*/)?"), "\u0002", ".*")
  }
  strange = [for glob, regex in local.regexes : glob if !can(regexall("^${regex}$", ""))]

  never_names = join("|", [for name in local.never : replace(replace(name, ".", "\\."), "*", ".*")])
  never_regex = "^(?:${local.never_names})$"
  never_below = "(?:^|/)(?:${local.never_names})(?:/|$)"

  # A pattern that fits a directory counts for all below it.
  wanted_regex = length(local.wanted) > 0 ? join("|", [for glob in local.wanted : "^${local.regexes[glob]}$"]) : "^$"
  exclude      = length(var.exclude) > 0 ? join("|", [for glob in var.exclude : "^${local.regexes[glob]}(?:/.*)?$"]) : "^$"
  rule_ends    = [for rule in local.rules : "^${local.regexes[rule.glob]}${rule.end}$"]
  ignore       = length(local.rules) > 0 ? join("|", local.rule_ends) : "^$"

  not_ignored = [
    for name in local.listed : name
    if !can(regex(local.ignore, name)) || try(reverse([for at, end in local.rule_ends : local.rules[at].keep if can(regex(end, name))])[0], false)
  ]
  not_excluded = [
    for name in local.not_ignored : name
    if !can(regex(local.exclude, name)) && (!can(regex(local.never_below, name)) || alltrue([
      for end, part in split("/", name) : can(regex(local.wanted_regex, join("/", slice(split("/", name), 0, end + 1))))
      if can(regex(local.never_regex, part))
    ]))
  ]
  files = toset(length(local.strange) + length(local.loops) > 0 ? [] : local.not_excluded)

  # fileset knows no modes. In base64, IyE and IyF are #! and a letter or a slash, f0VMR is the head of an ELF file.
  runnable = join("|", [for glob in coalesce(var.executable, []) : "^${local.regexes[glob]}$"])
  executable = var.executable != null ? [
    for name in local.files : name if length(var.executable) > 0 && can(regex(local.runnable, name))
    ] : [
    for name in local.files : name if can(regex("^(IyE|IyF|f0VMR)", local.encoded[name])) && !can(regex("\\.so(\\.|$)", name))
  ]

  # --- what is sent ------------------------------------------------------------------------------------------------
  hashes  = { for name in local.files : name => filesha256("${local.root}/${name}") }
  encoded = { for name in local.files : name => filebase64("${local.root}/${name}") }

  # The manifest holds what is small. Text as text, which compresses better, unless Terraform has normalised it.
  large = { for name, text in local.encoded : name => local.hashes[name] if length(text) > 350000 }
  texts = {
    for name, hash in local.hashes : name => file("${local.root}/${name}")
    if !can(local.large[name]) && try(sha256(file("${local.root}/${name}")) == hash, false)
  }
  manifest = jsonencode({
    files = merge(
      local.large,
      { for name, text in local.texts : name => { text = text } },
      { for name, text in local.encoded : name => { base64 = text } if !can(local.large[name]) && !can(local.texts[name]) },
    )
    executable = sort(local.executable)
  })
  manifest_sha256 = sha256(local.manifest)
  manifest_mb     = ceil(length(local.manifest) / 1000000)
  # As values of their own, because a failing condition shows what it is made of.
  is_small = length(local.manifest) <= 32000000 && length(local.large) <= 500
}

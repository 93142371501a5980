// LiteLLM's documented keys that Penstock reads past, and the sorting of a file's keys into acted
// on, known and unknown, so that none is ignored in silence. (LiteLLM docs: proxy/config_settings;
// its source: types/litellm_params.py for the names it never sends upstream.)
import { cacheParamsShape } from './cache-settings.ts'
import { describeValue } from './config-error.ts'
import {
  generalSettingsShape,
  litellmParamsShape,
  litellmSettingsShape,
  modelInfoShape,
  retryPolicyNames,
  routerSettingsShape,
} from './schema.ts'

const words = (text: string): string[] => text.trim().split(/\s+/)

const acted = {
  top: new Set(
    words(`model_list litellm_settings router_settings general_settings environment_variables
      credential_list include penstock_settings`),
  ),
  litellm_settings: new Set(Object.keys(litellmSettingsShape)),
  cache_params: new Set(Object.keys(cacheParamsShape)),
  router_settings: new Set(Object.keys(routerSettingsShape)),
  general_settings: new Set(Object.keys(generalSettingsShape)),
  litellm_params: new Set(Object.keys(litellmParamsShape)),
  model_info: new Set(Object.keys(modelInfoShape)),
}

const known: Record<keyof typeof acted, ReadonlySet<string>> = {
  top: new Set(
    words(`callback_settings guardrails guardrail_list mcp_servers mcp_tools mcp_semantic_tool_filter
      assistant_settings finetune_settings files_settings vector_store_registry search_tools prompts
      agent_list policies policy_attachments cache`),
  ),
  litellm_settings: new Set(
    words(`success_callback failure_callback callbacks service_callbacks audit_log_callbacks
      turn_off_message_logging redact_user_api_key_info langfuse_default_tags force_ipv4 set_verbose
      json_logs modify_params telemetry ssl_verify num_retries_per_request
      max_budget budget_duration max_internal_user_budget internal_user_budget_duration
      default_team_settings default_team_params default_internal_user_params key_generation_settings
      upperbound_key_generate_params default_key_generate_params max_end_user_budget
      enable_preview_features mcp_aliases disable_end_user_cost_tracking
      disable_end_user_cost_tracking_prometheus_only custom_prometheus_metadata_labels
      prometheus_metrics_config custom_provider_map enable_json_schema_validation
      disable_hf_tokenizer_download disable_add_transform_inline_image_block
      disable_copilot_system_to_assistant enable_key_alias_format_validation model_alias_map
      use_chat_completions_url_for_anthropic_messages public_model_groups
      require_auth_for_metrics_endpoint api_base api_key organization cooldown_time max_fallbacks
      default_max_internal_user_budget s3_callback_params store_audit_logs guardrails
      forward_traceparent_to_llm_provider LITELLM_DISABLE_STOP_SEQUENCE_LIMIT`),
  ),
  cache_params: new Set(
    words(`default_in_memory_ttl default_in_redis_ttl max_connections socket_timeout
      redis_startup_nodes service_name sentinel_nodes sentinel_password ssl similarity_threshold
      redis_semantic_cache_embedding_model qdrant_semantic_cache_embedding_model
      qdrant_collection_name qdrant_quantization_config s3_bucket_name s3_region_name
      s3_aws_access_key_id s3_aws_secret_access_key s3_endpoint_url gcs_bucket_name
      gcs_path_service_account gcs_path disk_cache_dir redis_flush_size`),
  ),
  router_settings: new Set(
    words(`redis_host redis_port redis_password redis_url redis_db redis_ssl cache_responses
      cache_kwargs caching_groups client_ttl default_litellm_params default_priority polling_interval
      debug_level disable_cooldowns allowed_fails_policy tag_filtering_match_any retry_after
      max_fallbacks routing_strategy_args routing_groups set_verbose alerting_config assistants_config
      provider_budget_config model_group_retry_policy router_general_settings search_tools
      guardrail_list ignore_invalid_deployments deployment_affinity_ttl_seconds enable_pre_call_check
      max_retries model_group_affinity_config enable_health_check_routing weights`),
  ),
  general_settings: new Set(
    words(`completion_model embedding_model image_generation_model moderation_model
      disable_spend_logs disable_spend_updates disable_master_key_return disable_reset_budget
      disable_retry_on_max_parallel_request_limit_error disable_adding_master_key_hash_to_db
      disable_responses_id_security disable_prisma_schema_update disable_error_logs enable_jwt_auth
      enforce_user_param enforced_params reject_clientside_metadata_tags allowed_routes public_routes
      admin_only_routes key_management_system key_management_settings database_type database_args
      database_connection_pool_limit database_connection_timeout allow_requests_on_db_unavailable
      custom_auth custom_sso custom_key_generate max_parallel_requests global_max_parallel_requests
      infer_model_from_keys background_health_checks health_check_interval health_check_details
      alerting alerting_threshold alerting_args alert_types alert_to_webhook_url spend_report_frequency
      use_client_credentials_pass_through_routes pass_through_endpoints enable_oauth2_auth
      enable_oauth2_proxy_auth oauth2_config_mappings use_x_forwarded_for service_account_settings
      store_model_in_db supported_db_objects user_mcp_management_mode
      max_request_size_mb max_response_size_mb proxy_budget_rescheduler_min_time
      proxy_budget_rescheduler_max_time proxy_batch_write_at proxy_batch_polling_interval
      user_api_key_cache_ttl allowed_ips default_team_disabled allow_user_auth litellm_key_header_name
      allow_client_side_credentials use_azure_key_vault use_google_kms ui_access_mode litellm_jwtauth
      litellm_license forward_openai_org_id forward_client_headers_to_llm_api
      maximum_spend_logs_retention_interval use_redis_transaction_buffer`),
  ),
  /** LiteLLM's own: none of these is part of a request's body, and neither do we send them. */
  litellm_params: new Set(
    words(`num_retries max_retries provider_specific_header shared_session ssl_verify request_timeout force_timeout
      configurable_clientside_auth_params use_litellm_proxy use_chat_completions_api
      use_in_pass_through allowed_openai_params fallbacks context_window_fallback_dict retry_policy
      retry_strategy routing_strategy allowed_model_region region_name enable_tag_filtering
      fastest_response provider_affinity_header model_info itpm otpm default_api_key_rpm_limit
      default_api_key_tpm_limit tag_regex max_file_size_mb auto_router_config_path auto_router_config
      auto_router_default_model auto_router_embedding_model complexity_router_config
      complexity_router_default_model adaptive_router_config adaptive_router_default_model
      quality_router_config quality_router_default_model caching cache ttl enable_prompt_caching
      caching_groups cost_per_query base_model max_budget budget_duration id litellm_metadata
      litellm_trace_id litellm_session_id logger_fn verbose no-log max_agentic_loops guardrails
      prompt_id prompt_variables prompt_version prompt_label litellm_system_prompt custom_prompt_dict
      initial_prompt_value roles final_prompt_value bos_token eos_token hf_model_name
      supports_system_message ensure_alternating_roles user_continue_message
      assistant_continue_message disable_add_transform_inline_image_block
      merge_reasoning_content_in_choices enable_json_schema_validation complete_response
      stream_chunk_size keepalive_seconds allow_client_keepalive_override mock_timeout mock_delay
      mock_tool_calls aws_batch_role_arn s3_bucket_name s3_region_name s3_endpoint_url
      s3_output_bucket_name s3_bucket_owner s3_access_key_id s3_secret_access_key
      s3_encryption_key_id gcs_bucket_name bucket_name cache_control_injection_points`),
  ),
  model_info: new Set(
    words(`litellm_provider access_groups team_id team_public_model_name
      tier db_model created_at created_by updated_at updated_by version description health_check_model
      health_check_timeout disable_background_health_check supported_environments custom_tokenizer
      output_vector_size rpm tpm region_name`),
  ),
}

/** Parameters of a request's body, or of one kind of upstream: defaults for every call. */
const bodyParams = new Set(
  words(`temperature top_p top_k min_p n stop seed max_tokens max_completion_tokens
    presence_penalty frequency_penalty repetition_penalty repeat_penalty repeat_last_n logit_bias
    logprobs top_logprobs user metadata store service_tier stream stream_options response_format
    modalities audio prediction verbosity tools tool_choice parallel_tool_calls functions function_call
    reasoning_effort thinking web_search_options safety_identifier prompt_cache_key suffix echo best_of
    encoding_format dimensions input_type truncate format keep_alive num_ctx num_predict num_gpu
    num_thread num_batch num_keep mirostat mirostat_eta mirostat_tau tfs_z typical_p use_mmap
    use_mlock main_gpu low_vram penalize_newline options raw template system think
    chat_template_kwargs guided_json guided_choice guided_regex guided_grammar priority transforms
    provider route models safety_settings anthropic_beta api_version azure_ad_token tenant_id client_id
    client_secret azure_username azure_password azure_scope`),
)
const bodyPrefixes = ['sim_', 'aws_', 'vertex_', 'watsonx_']

export type ParamKind = 'acted' | 'litellm-only' | 'body' | 'unknown'

/** What a `litellm_params` key is; `body` and `unknown` ones are defaults of the request's body. */
export function paramKind(name: string): ParamKind {
  if (acted.litellm_params.has(name)) return 'acted'
  if (known.litellm_params.has(name)) return 'litellm-only'
  const isBody = bodyParams.has(name) || bodyPrefixes.some((prefix) => name.startsWith(prefix))
  return isBody ? 'body' : 'unknown'
}

/** Whether the value at `section.key` has any effect; others need not even be resolvable. */
export function isActedOn(section: string, key: string): boolean {
  const keys = Object.hasOwn(acted, section) ? acted[section as keyof typeof acted] : undefined
  return keys?.has(key) ?? false
}

export interface UnusedKeys {
  known: string[]
  unknown: string[]
}

/** The one of LiteLLM's `optional_pre_call_checks` that we act on, and those that we know. */
export const rateLimitCheck = 'enforce_model_rate_limits'
const knownChecks = new Set<unknown>(
  words(`prompt_caching router_budget_limiting responses_api_deployment_check deployment_affinity
    session_affinity forward_client_headers_by_model_group encrypted_content_affinity`),
)

const entriesOf = (value: unknown): [string, unknown][] =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []

/** The keys of a config that have no effect (yet); those of `model_list` without their index. */
export function unusedKeys(tree: Record<string, unknown>): UnusedKeys {
  const found = { known: new Set<string>(), unknown: new Set<string>() }
  const sort = (part: keyof typeof acted, value: unknown, path: string) => {
    for (const [key, inner] of entriesOf(value)) {
      const name = `${path}${key}`
      if (inner === null || acted[part].has(key)) continue
      if (part === 'litellm_params' && paramKind(key) === 'body') continue
      const isKnown = known[part].has(key) || (part === 'model_info' && /^supports_/.test(key))
      found[isKnown ? 'known' : 'unknown'].add(name)
    }
  }

  sort('top', tree, '')
  for (const section of ['litellm_settings', 'router_settings', 'general_settings'] as const) {
    sort(section, tree[section], `${section}.`)
  }
  const litellm = Object.fromEntries(entriesOf(tree.litellm_settings))
  sort('cache_params', litellm.cache_params, 'litellm_settings.cache_params.')
  for (const [, entry] of Object.entries(tree.model_list ?? [])) {
    for (const [key, value] of entriesOf(entry)) {
      if (key === 'litellm_params' || key === 'model_info') sort(key, value, `model_list[].${key}.`)
      else if (key !== 'model_name') found.unknown.add(`model_list[].${key}`)
    }
  }
  const router = Object.fromEntries(entriesOf(tree.router_settings))
  for (const [key] of entriesOf(router.retry_policy)) {
    if (!Object.hasOwn(retryPolicyNames, key))
      found.unknown.add(`router_settings.retry_policy.${key}`)
  }
  const { optional_pre_call_checks: checks } = router
  for (const check of Array.isArray(checks) ? checks : []) {
    if (check === rateLimitCheck || check === null) continue
    const name = `router_settings.optional_pre_call_checks: ${describeValue(check)}`
    found[knownChecks.has(check) ? 'known' : 'unknown'].add(name)
  }
  return { known: [...found.known], unknown: [...found.unknown] }
}

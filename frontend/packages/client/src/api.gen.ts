// Written by `npm run api` from the OpenAPI document. Do not edit.

export interface paths {
    "/api/v1/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Uploads
         * @description My uploads, newest first.
         */
        get: operations["list_uploads_api_v1_uploads_get"];
        put?: never;
        /**
         * Create Upload
         * @description Begin an upload: its room is reserved, and the answer says how to cut the file.
         */
        post: operations["create_upload_api_v1_uploads_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/uploads/{upload_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Upload
         * @description How far it is, what is missing, and where it went.
         */
        get: operations["get_upload_api_v1_uploads__upload_id__get"];
        put?: never;
        post?: never;
        /**
         * Cancel Upload
         * @description Cancel it: nothing of it is kept. A completed upload stays.
         */
        delete: operations["cancel_upload_api_v1_uploads__upload_id__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/uploads/{upload_id}/complete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Complete Upload
         * @description Everything was sent; answers when the file is at its destination, with 202 where that takes long.
         */
        post: operations["complete_upload_api_v1_uploads__upload_id__complete_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/uploads/{upload_id}/chunks/{number}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Put Chunk
         * @description Send chunk `number` (from 0, at `number * chunk_size`); any order, again if in doubt.
         */
        put: operations["put_chunk_api_v1_uploads__upload_id__chunks__number__put"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/files/{filename}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Put File
         * @description Store a file; answers when it is at its destination, with 202 where that takes long.
         *
         *     With an Idempotency-Key, files have a Content-Length, and one chunk at most.
         */
        put: operations["put_file_api_v1_files__filename__put"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/files/{upload_id}/content": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Content
         * @description The stored file, always as an attachment; `Range` is honoured.
         */
        get: operations["get_content_api_v1_files__upload_id__content_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        /**
         * Get Content
         * @description The stored file, always as an attachment; `Range` is honoured.
         */
        head: operations["head_content"];
        patch?: never;
        trace?: never;
    };
    "/api/v1/forms": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Post Form
         * @description Store the files of a form; answers when they are at their destinations, with 202 where that takes long.
         */
        post: operations["post_form_api_v1_forms_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/uploads/{upload_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Upload Events
         * @description What happens to one upload: `progress` and `state` while it lasts, `done` at its end, then the stream ends.
         */
        get: operations["upload_events_api_v1_uploads__upload_id__events_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * My Events
         * @description What happens to all my uploads, over one connection.
         */
        get: operations["my_events_api_v1_events_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/system/upload-status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Upload Status
         * @description How the server is doing.
         */
        get: operations["upload_status_api_v1_system_upload_status_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/system/upload-progress/{file_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Upload Progress
         * @description How far one upload is, for whoever has its id.
         */
        get: operations["upload_progress_api_v1_system_upload_progress__file_id__get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Metrics
         * @description Prometheus metrics.
         */
        get: operations["metrics_metrics_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Healthz
         * @description The process answers.
         */
        get: operations["healthz_healthz_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Readyz
         * @description Whether new uploads would be taken: database, staging, destinations, memory.
         */
        get: operations["readyz_readyz_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who Am I
         * @description Who is signed in.
         */
        get: operations["who_am_i_api_v1_session_get"];
        put?: never;
        /**
         * Sign In
         * @description Exchange a token for a cookie that scripts can't read and that is sent to this site only.
         */
        post: operations["sign_in_api_v1_session_post"];
        /**
         * Sign Out
         * @description Forget the cookie.
         */
        delete: operations["sign_out_api_v1_session_delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/ops/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All Uploads
         * @description Uploads of everyone, those that have ended too.
         */
        get: operations["all_uploads_api_v1_ops_uploads_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/ops/limits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Limits
         * @description What is allowed, and how much room there is.
         */
        get: operations["limits_api_v1_ops_limits_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/ops/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Ops Events
         * @description Everything that the operations page shows, over one connection.
         *
         *     `history` and `limits` come once, a `sample` twice a second; `destinations`, `uploads` and `incidents` as they are, and
         *     then as they change. The data of each is described by the schema of its name: `OpsHistory`, `OpsLimits`, `OpsSample`, `DestinationState`
         *     (an object of them, by name), `OpsUploads`, `OpsIncidents`.
         */
        get: operations["ops_events_api_v1_ops_events_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/ops/uploads/{upload_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Cancel Any
         * @description Cancel anybody's upload.
         */
        delete: operations["cancel_any_api_v1_ops_uploads__upload_id__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/tus/{upload_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Tus Content
         * @description The stored file; for those who have nothing but the upload's address.
         */
        get: operations["tus_content_api_v1_tus__upload_id__get"];
        put?: never;
        post?: never;
        /**
         * Tus Terminate
         * @description End an upload for good. A file that is at its destination stays there; its upload is not found any more.
         */
        delete: operations["tus_terminate_api_v1_tus__upload_id__delete"];
        /**
         * Tus Options
         * @description What this server can do with tus.
         */
        options: operations["tus_options_of_upload"];
        /**
         * Tus Position
         * @description Where the upload stands. A request that still brings bytes is ended, and what it brought is counted.
         */
        head: operations["tus_position_api_v1_tus__upload_id__head"];
        /**
         * Tus Append
         * @description Add bytes where the upload stands. What came of a request that breaks off is kept.
         */
        patch: operations["tus_append_api_v1_tus__upload_id__patch"];
        trace?: never;
    };
    "/api/v1/tus": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tus Create
         * @description Begin an upload (tus, creation); with a body, its first bytes as well (creation-with-upload).
         */
        post: operations["tus_create_api_v1_tus_post"];
        delete?: never;
        /**
         * Tus Options
         * @description What this server can do with tus.
         */
        options: operations["tus_options_api_v1_tus_options"];
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/resumable/{upload_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Resumable State
         * @description Where the upload stands. A request that still brings bytes is ended, and what it brought is counted.
         */
        get: operations["resumable_state_api_v1_resumable__upload_id__get"];
        put?: never;
        post?: never;
        /**
         * Resumable Cancel
         * @description End an upload for good. A file that is at its destination stays there; its upload is not found any more.
         */
        delete: operations["resumable_cancel_api_v1_resumable__upload_id__delete"];
        /**
         * Resumable Options
         * @description What may be uploaded.
         */
        options: operations["resumable_options_of_upload"];
        /**
         * Resumable State
         * @description Where the upload stands. A request that still brings bytes is ended, and what it brought is counted.
         */
        head: operations["resumable_position"];
        /**
         * Resumable Append
         * @description Add bytes where the upload stands, or say that it is complete. What came of a request that breaks off is kept.
         */
        patch: operations["resumable_append_api_v1_resumable__upload_id__patch"];
        trace?: never;
    };
    "/api/v1/resumable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Resumable Create
         * @description Begin an upload; its content is the file, or the beginning of it, or nothing yet.
         *
         *     Without Upload-Complete it is an ordinary request that stores a file.
         */
        post: operations["resumable_create_api_v1_resumable_post"];
        delete?: never;
        /**
         * Resumable Options
         * @description What may be uploaded.
         */
        options: operations["resumable_options_api_v1_resumable_options"];
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * ByteSpan
         * @description `[start, end)` in bytes.
         */
        ByteSpan: {
            /** Start */
            start: number;
            /** End */
            end: number;
        };
        /**
         * ChunkSpan
         * @description Chunks `first` to `last`, both included.
         */
        ChunkSpan: {
            /** First */
            first: number;
            /** Last */
            last: number;
        };
        /**
         * Completion
         * @description What finishes an upload: its last byte, or the client's word.
         * @enum {string}
         */
        Completion: "auto" | "explicit";
        /**
         * ConcurrencyView
         * @description Who may receive.
         */
        ConcurrencyView: {
            /** Active Uploads */
            active_uploads: number;
            /** Max Uploads */
            max_uploads: number;
            /** Active Users */
            active_users: number;
            /** Max Users */
            max_users: number;
            /** Queued */
            queued: number;
            /** Refused Total */
            refused_total: number;
        };
        /**
         * DestinationView
         * @description A destination.
         */
        DestinationView: {
            /** Transferring */
            transferring: number;
            /**
             * Waiting
             * @description Uploads whose transfer was held up and is tried again.
             */
            waiting: number;
            /**
             * Breaker
             * @description open: it is left alone for a while.
             * @enum {string}
             */
            breaker: "closed" | "open";
            /**
             * Reason
             * @description Code of the problem for which it is left alone.
             */
            reason: string | null;
            /**
             * Report
             * @description What it says of itself: bytes sent today, room.
             */
            report: {
                [key: string]: number | boolean | null;
            } | null;
        };
        /**
         * FailedAttemptView
         * @description An attempt that failed; whether another followed, the others tell.
         */
        FailedAttemptView: {
            /**
             * At
             * Format: date-time
             */
            at: string;
            /**
             * Step
             * @enum {string}
             */
            step: "receiving" | "staging" | "destination";
            /**
             * Chunk
             * @description null: it was not about one chunk.
             */
            chunk: number | null;
            /**
             * Attempt
             * @description In a row, from 1.
             */
            attempt: number;
            /** Code */
            code: string;
        };
        /**
         * FailureView
         * @description Why it ended badly, or why the transfer waits.
         */
        FailureView: {
            /** Code */
            code: string;
            /** Detail */
            detail: string;
        };
        /**
         * FormView
         * @description What became of a form's files, in their order.
         */
        FormView: {
            /** Uploads */
            uploads: components["schemas"]["UploadView"][];
        };
        /**
         * LimitsView
         * @description Limits in force and the room there is, in bytes.
         */
        LimitsView: {
            /** Max Uploads */
            max_uploads: number;
            /** Max Users */
            max_users: number;
            /** Max Uploads Per User */
            max_uploads_per_user: number | null;
            /** Max Concurrent Chunks */
            max_concurrent_chunks: number;
            /** Chunk Size */
            chunk_size: number;
            /** Max File Size */
            max_file_size: number;
            /** Max Memory Percent */
            max_memory_percent: number;
            /** Staging Total */
            staging_total: number;
            /** Staging Free */
            staging_free: number;
            /** Staging Reserved */
            staging_reserved: number;
        };
        /**
         * MemoryView
         * @description Memory of the container or host; `current_usage` in percent; what can't be measured is null.
         */
        MemoryView: {
            /** Current Usage */
            current_usage: number | null;
            /** Limit */
            limit: number | null;
            /**
             * Level
             * @enum {string}
             */
            level: "ok" | "high" | "error";
            /** Rss Bytes */
            rss_bytes: number | null;
            /** Source */
            source: ("cgroup" | "host") | null;
        };
        /**
         * Mode
         * @description How chunks are taken: many at once in any order, or one at a time in order.
         * @enum {string}
         */
        Mode: "parallel" | "sequential";
        /**
         * NameConflictPolicy
         * @description What happens when the destination has a file of that name.
         * @enum {string}
         */
        NameConflictPolicy: "rename" | "fail" | "replace";
        /**
         * OwnedPage
         * @description A page of uploads, newest first.
         */
        OwnedPage: {
            /** Uploads */
            uploads: components["schemas"]["OwnedUpload"][];
            /** Next */
            next: string | null;
        };
        /**
         * OwnedUpload
         * @description An upload with its owner.
         */
        OwnedUpload: {
            /** Id */
            id: string;
            /** Filename */
            filename: string;
            /** Path */
            path: string;
            /** Media Type */
            media_type: string;
            /**
             * Size
             * @description Null as long as the client, by a protocol that allows it, has not said the file's size.
             */
            size: number | null;
            state: components["schemas"]["UploadState"];
            mode: components["schemas"]["Mode"];
            /** Chunk Size */
            chunk_size: number;
            /**
             * Chunk Count
             * @description Null as long as the client, by a protocol that allows it, has not said the file's size.
             */
            chunk_count: number | null;
            /** Max Concurrent Chunks */
            max_concurrent_chunks: number;
            /** Chunk Url */
            chunk_url: string;
            completion: components["schemas"]["Completion"];
            /** Destination */
            destination: string;
            /** Bytes Received */
            bytes_received: number;
            /**
             * Bytes Transferred
             * @description At the destination: what it has confirmed, or the connection to it has taken of a request under way. A directory gets the file whole: 0 until then.
             */
            bytes_transferred: number;
            /**
             * Missing
             * @description What is still to come; the first 1,000 ranges. None as long as the size is not known.
             */
            missing: components["schemas"]["ByteSpan"][];
            /** Missing Chunks */
            missing_chunks: components["schemas"]["ChunkSpan"][];
            /** Queue Position */
            queue_position: number | null;
            /**
             * Created At
             * Format: date-time
             */
            created_at: string;
            /** Expires At */
            expires_at: string | null;
            result: components["schemas"]["ResultView"] | null;
            error: components["schemas"]["FailureView"] | null;
            /** Owner */
            owner: string;
        };
        /**
         * PoolView
         * @description The buffer pool.
         */
        PoolView: {
            /** Slab Bytes */
            slab_bytes: number;
            /** Slabs Total */
            slabs_total: number;
            /** Slabs Leased */
            slabs_leased: number;
            /** Waiting */
            waiting: number;
        };
        /**
         * ProcessorView
         * @description The receiving side, over the last `window_seconds`; `error_rate` from 0 to 1.
         */
        ProcessorView: {
            /** Chunks In Flight */
            chunks_in_flight: number;
            /** Chunks Per Second */
            chunks_per_second: number;
            /** Bytes Per Second */
            bytes_per_second: number;
            /** Error Rate */
            error_rate: number;
            /** Retries Total */
            retries_total: number;
            /** Window Seconds */
            window_seconds: number;
        };
        /**
         * ProgressView
         * @description Progress for whoever has the id; names nobody.
         */
        ProgressView: {
            /** File Id */
            file_id: string;
            state: components["schemas"]["UploadState"];
            mode: components["schemas"]["Mode"];
            /**
             * Total Bytes
             * @description Null as long as the client, by a protocol that allows it, has not said the file's size.
             */
            total_bytes: number | null;
            /** Bytes Received */
            bytes_received: number;
            /**
             * Bytes Transferred
             * @description At the destination: what it has confirmed, or the connection to it has taken of a request under way. A directory gets the file whole: 0 until then.
             */
            bytes_transferred: number;
            /** Progress Percent */
            progress_percent: number;
            /**
             * Total Chunks
             * @description Null as long as the client, by a protocol that allows it, has not said the file's size.
             */
            total_chunks: number | null;
            /** Completed Chunks */
            completed_chunks: number;
            /** Failed Chunks */
            failed_chunks: number;
            /**
             * Retried Chunks
             * @description Attempts that had to be repeated: chunks, writes to staging, transfers.
             */
            retried_chunks: number;
            /**
             * Failed Attempts
             * @description The last 20 attempts that failed, oldest first; also after the end.
             */
            failed_attempts: components["schemas"]["FailedAttemptView"][];
            /** In Flight Chunks */
            in_flight_chunks: number;
            /** Missing */
            missing: components["schemas"]["ByteSpan"][];
            /** Elapsed Seconds */
            elapsed_seconds: number;
            /** Bytes Per Second */
            bytes_per_second: number;
            /** Chunks Per Second */
            chunks_per_second: number;
            /** Window Seconds */
            window_seconds: number;
            /** Estimated Seconds Remaining */
            estimated_seconds_remaining: number | null;
        };
        /**
         * ReadyView
         * @description Whether uploads can be taken now; per part `ok` or what is wrong.
         */
        ReadyView: {
            /**
             * Status
             * @constant
             */
            status: "ok";
            /** Checks */
            checks: {
                [key: string]: string;
            };
        };
        /**
         * ResultView
         * @description What the destination holds.
         */
        ResultView: {
            /** Destination */
            destination: string;
            /** Id */
            id: string;
            /** Name */
            name: string;
            /** Size */
            size: number;
            /** Digest */
            digest: string | null;
        };
        /**
         * SessionView
         * @description Who is signed in.
         */
        SessionView: {
            /** User */
            user: string;
            /** Operator */
            operator: boolean;
        };
        /**
         * StatusView
         * @description The whole server; names nobody.
         */
        StatusView: {
            mode: components["schemas"]["Mode"];
            concurrency_manager: components["schemas"]["ConcurrencyView"];
            memory_monitor: components["schemas"]["MemoryView"];
            buffer_pool: components["schemas"]["PoolView"];
            chunk_processor: components["schemas"]["ProcessorView"];
            /** Destinations */
            destinations: {
                [key: string]: components["schemas"]["DestinationView"];
            };
            /** Version */
            version: string;
            /** Uptime Seconds */
            uptime_seconds: number;
        };
        /**
         * UploadPage
         * @description A page of uploads, newest first.
         */
        UploadPage: {
            /** Uploads */
            uploads: components["schemas"]["UploadView"][];
            /** Next */
            next: string | null;
        };
        /**
         * UploadState
         * @description Where an upload stands.
         * @enum {string}
         */
        UploadState: "created" | "receiving" | "transferring" | "completed" | "failed" | "cancelled" | "expired";
        /**
         * UploadView
         * @description An upload, for its owner.
         */
        UploadView: {
            /** Id */
            id: string;
            /** Filename */
            filename: string;
            /** Path */
            path: string;
            /** Media Type */
            media_type: string;
            /**
             * Size
             * @description Null as long as the client, by a protocol that allows it, has not said the file's size.
             */
            size: number | null;
            state: components["schemas"]["UploadState"];
            mode: components["schemas"]["Mode"];
            /** Chunk Size */
            chunk_size: number;
            /**
             * Chunk Count
             * @description Null as long as the client, by a protocol that allows it, has not said the file's size.
             */
            chunk_count: number | null;
            /** Max Concurrent Chunks */
            max_concurrent_chunks: number;
            /** Chunk Url */
            chunk_url: string;
            completion: components["schemas"]["Completion"];
            /** Destination */
            destination: string;
            /** Bytes Received */
            bytes_received: number;
            /**
             * Bytes Transferred
             * @description At the destination: what it has confirmed, or the connection to it has taken of a request under way. A directory gets the file whole: 0 until then.
             */
            bytes_transferred: number;
            /**
             * Missing
             * @description What is still to come; the first 1,000 ranges. None as long as the size is not known.
             */
            missing: components["schemas"]["ByteSpan"][];
            /** Missing Chunks */
            missing_chunks: components["schemas"]["ChunkSpan"][];
            /** Queue Position */
            queue_position: number | null;
            /**
             * Created At
             * Format: date-time
             */
            created_at: string;
            /** Expires At */
            expires_at: string | null;
            result: components["schemas"]["ResultView"] | null;
            error: components["schemas"]["FailureView"] | null;
        };
        /**
         * Problem
         * @description RFC 9457 problem details.
         */
        Problem: {
            /** Type */
            type: string;
            /** Title */
            title: string;
            /** Status */
            status: number;
            /** Detail */
            detail: string;
            /** Code */
            code: string;
            /** Request Id */
            request_id: string;
        } & {
            [key: string]: unknown;
        };
        /**
         * Cause
         * @description For what, or for whom.
         * @enum {string}
         */
        Cause: "client" | "queue" | "slab" | "disk" | "destination" | "backoff";
        /**
         * OpsSample
         * @description The server over an interval that ends at `at`; rates are per second.
         */
        OpsSample: {
            /** At */
            at: number;
            /** Bytes In */
            bytes_in: number;
            /**
             * Bytes Out
             * @description To destinations.
             */
            bytes_out: number;
            /** Chunks */
            chunks: number;
            /**
             * Error Rate
             * @description Failed chunks over all ended ones of the last ten seconds, from 0 to 1.
             */
            error_rate: number;
            /** Active Uploads */
            active_uploads: number;
            /** Active Users */
            active_users: number;
            /** Queued */
            queued: number;
            /** Memory Percent */
            memory_percent: number | null;
            /**
             * Memory Level
             * @enum {string}
             */
            memory_level: "ok" | "high" | "error";
            /** Rss Bytes */
            rss_bytes: number | null;
            /** Slabs Leased */
            slabs_leased: number;
            /** Slab Waiting */
            slab_waiting: number;
            /**
             * Loop Delay Ms
             * @description The event loop's longest delay in the interval.
             */
            loop_delay_ms: number;
            /** Chunk P50 Ms */
            chunk_p50_ms: number | null;
            /** Chunk P99 Ms */
            chunk_p99_ms: number | null;
            /** @description Seconds of waiting per second, of all uploads. */
            causes: components["schemas"]["Waits"];
            slowness: components["schemas"]["Cause"] | null;
        };
        /**
         * Waits
         * @description Seconds of waiting, by what was waited for; of several connections at once, those of each.
         */
        Waits: {
            /**
             * Client
             * @description For the client's bytes.
             */
            client: number;
            /**
             * Queue
             * @description For a slot, or for a turn at the destination.
             */
            queue: number;
            /**
             * Slab
             * @description For a buffer of the pool.
             */
            slab: number;
            /**
             * Disk
             * @description Writing to, syncing or reading staging, or a destination that is a directory.
             */
            disk: number;
            /**
             * Destination
             * @description Requests to the destination in flight, with nothing else to do.
             */
            destination: number;
            /**
             * Backoff
             * @description Between two tries, or while the destination is left alone.
             */
            backoff: number;
        };
        /**
         * OpsHistory
         * @description At most the last hour, oldest first; each sample is over `step_seconds`. Event `history`.
         */
        OpsHistory: {
            /** Step Seconds */
            step_seconds: number;
            /** Samples */
            samples: components["schemas"]["OpsSample"][];
        };
        /**
         * OpsLimits
         * @description What does not change while the server runs. Event `limits`.
         */
        OpsLimits: {
            /** Max Uploads */
            max_uploads: number;
            /** Max Users */
            max_users: number;
            /** Max Memory Percent */
            max_memory_percent: number;
            /** Memory Limit Bytes */
            memory_limit_bytes: number | null;
            /** Slabs Total */
            slabs_total: number;
            /** Slab Bytes */
            slab_bytes: number;
            mode: components["schemas"]["Mode"];
            /** Version */
            version: string;
            /** Started At */
            started_at: number;
        };
        /**
         * DestinationState
         * @description A destination. Event `destinations`: all of them, by name.
         */
        DestinationState: {
            /**
             * Kind
             * @description The scheme of its URL: disk, gdrive.
             */
            kind: string;
            /**
             * Breaker
             * @description open: it is left alone for a while.
             * @enum {string}
             */
            breaker: "closed" | "open";
            /**
             * Reason
             * @description Code of the problem for which it is left alone.
             */
            reason: string | null;
            /**
             * Sentence
             * @description What the problem is, and what an operator can do.
             */
            sentence: string | null;
            /** Transferring */
            transferring: number;
            /**
             * Waiting
             * @description Uploads whose transfer was held up and is tried again.
             */
            waiting: number;
            /**
             * Parked
             * @description Those of them that wait for the destination's quota.
             */
            parked: number;
            /**
             * Backoff Until
             * @description When it is tried again.
             */
            backoff_until: number | null;
            /**
             * Report
             * @description What it says of itself: bytes sent today, room.
             */
            report: {
                [key: string]: number | boolean | null;
            } | null;
        };
        /**
         * OpsRow
         * @description An upload that has not ended.
         */
        OpsRow: {
            /** Id */
            id: string;
            /** Owner */
            owner: string;
            /** Filename */
            filename: string;
            /**
             * Size
             * @description Null as long as its client has not said it.
             */
            size: number | null;
            state: components["schemas"]["UploadState"];
            /** Destination */
            destination: string;
            /** Received */
            received: number;
            /** Stored */
            stored: number;
            /** Bytes Per Second */
            bytes_per_second: number;
            /** Retries */
            retries: number;
            /** Queue Position */
            queue_position: number | null;
            /** Created At */
            created_at: number;
            /**
             * Problem
             * @description Why its transfer does not get on.
             */
            problem: string | null;
            /** @description Of the last 30 seconds. */
            where: components["schemas"]["Waits"];
            /** @description What it mostly waits for; null where nothing keeps it. */
            slowness: components["schemas"]["Cause"] | null;
        };
        /**
         * OpsUploads
         * @description All that have not ended at first, then those that have changed. Event `uploads`.
         */
        OpsUploads: {
            /** Rows */
            rows: components["schemas"]["OpsRow"][];
            /**
             * Gone
             * @description Ids of those that have ended.
             */
            gone: string[];
        };
        /**
         * OpsIncident
         * @description Something an operator may want to know; one that comes again is the same one with a higher `count`.
         */
        OpsIncident: {
            /** Id */
            id: number;
            /** At */
            at: number;
            /**
             * Kind
             * @enum {string}
             */
            kind: "start" | "stop" | "refusal" | "failure" | "destination" | "memory";
            /** Sentence */
            sentence: string;
            /** Count */
            count: number;
            /** Upload Id */
            upload_id: string | null;
            /** Owner */
            owner: string | null;
        };
        /**
         * OpsIncidents
         * @description All that are kept at first, then new ones and those that have come again. Event `incidents`.
         */
        OpsIncidents: {
            /** Incidents */
            incidents: components["schemas"]["OpsIncident"][];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    list_uploads_api_v1_uploads_get: {
        parameters: {
            query?: {
                state?: components["schemas"]["UploadState"][] | null;
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadPage"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_upload_api_v1_uploads_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The same key begins the same upload, once. */
                "idempotency-key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Filename */
                    filename: string;
                    /**
                     * Size
                     * @description In bytes.
                     */
                    size: number;
                    /**
                     * Path
                     * @description Relative folder at the destination.
                     * @default
                     */
                    path?: string;
                    /**
                     * Media Type
                     * @default application/octet-stream
                     */
                    media_type?: string;
                    /**
                     * Digest
                     * @description Of the whole file, as in Content-Digest (RFC 9530).
                     */
                    digest?: string | null;
                    /**
                     * Destination
                     * @default default
                     */
                    destination?: string;
                    /**
                     * Chunk Size
                     * @description In bytes; the server's choice when absent.
                     */
                    chunk_size?: number | null;
                    /**
                     * @description auto: the last chunk finishes the upload; explicit: `complete` does.
                     * @default auto
                     */
                    completion?: components["schemas"]["Completion"];
                    /** @default rename */
                    on_conflict?: components["schemas"]["NameConflictPolicy"];
                };
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description Invalid request · Name can't be used */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Idempotency-Key used before */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description File too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many unfinished uploads */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Memory usage too high · Upload limit reached · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room · Your room is used up */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_upload_api_v1_uploads__upload_id__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available · Being verified */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    cancel_upload_api_v1_uploads__upload_id__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    complete_upload_api_v1_uploads__upload_id__complete_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": {
                    /**
                     * Digest
                     * @description Of the whole file, as in Content-Digest (RFC 9530).
                     */
                    digest?: string | null;
                };
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description All bytes are kept; the destination takes its time. The upload goes on by itself: ask for it later. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Bytes are missing · Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Digest mismatch */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    put_chunk_api_v1_uploads__upload_id__chunks__number__put: {
        parameters: {
            query?: never;
            header?: {
                /** @description Of this chunk (RFC 9530): sha-256, crc32c. */
                "content-digest"?: string[] | null;
            };
            path: {
                upload_id: string;
                number: number;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": string;
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request · No such chunk · Chunk too short · Digest can't be read */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Request too slow */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state · Different bytes for a recorded chunk · Chunk out of order · Mode changed · Superseded by a newer connection */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Chunk too long */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Digest mismatch */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Upload limit reached · Chunk failed · Staging not available · Bytes are lost · Destination not available · Database not available · No buffer free · Server is stopping */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    put_file_api_v1_files__filename__put: {
        parameters: {
            query?: {
                /** @description Relative folder at the destination. */
                path?: string;
                on_conflict?: components["schemas"]["NameConflictPolicy"];
                destination?: string;
            };
            header?: {
                "content-type"?: string;
                /** @description Of the file (RFC 9530): sha-256, crc32c. */
                "content-digest"?: string[] | null;
                /** @description The same key begins the same upload, once. */
                "idempotency-key"?: string | null;
            };
            path: {
                filename: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": string;
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description All bytes are kept; the destination takes its time. The upload goes on by itself: ask for it later. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description Invalid request · Name can't be used · Digest can't be read */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Name taken · Idempotency-Key used before · Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Content-Length required */
            411: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Body too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Digest mismatch */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Memory usage too high · Upload limit reached · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_content_api_v1_files__upload_id__content_get: {
        parameters: {
            query?: never;
            header?: {
                /** @description One range of bytes (RFC 9110). */
                range?: string | null;
                "if-range"?: string | null;
                /** @description ETags of what is there already (RFC 9110). */
                "if-none-match"?: string | null;
            };
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description The range. */
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description It is what If-None-Match names. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Range not satisfiable */
            416: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Destination not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    head_content: {
        parameters: {
            query?: never;
            header?: {
                /** @description One range of bytes (RFC 9110). */
                range?: string | null;
                "if-range"?: string | null;
                /** @description ETags of what is there already (RFC 9110). */
                "if-none-match"?: string | null;
            };
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description The range. */
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            /** @description It is what If-None-Match names. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Range not satisfiable */
            416: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Destination not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    post_form_api_v1_forms_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": {
                    /** @description Relative folder of the files behind it. */
                    path?: string;
                    destination?: string;
                    /** @enum {string} */
                    on_conflict?: "rename" | "fail" | "replace";
                    /**
                     * Format: binary
                     * @description Any name, any number.
                     */
                    file?: string;
                };
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FormView"];
                };
            };
            /** @description All bytes are kept; a destination takes its time. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FormView"];
                };
            };
            /** @description As 201 and 202, for a browser that shows what comes: to the upload page. */
            303: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request · Name can't be used */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Request too slow */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Name taken · Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description File too large · Body too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Media type not supported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Digest mismatch */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many unfinished uploads */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Memory usage too high · Upload limit reached · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    upload_events_api_v1_uploads__upload_id__events_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    my_events_api_v1_events_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    upload_status_api_v1_system_upload_status_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StatusView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    upload_progress_api_v1_system_upload_progress__file_id__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                file_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProgressView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    metrics_metrics_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    healthz_healthz_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
        };
    };
    readyz_readyz_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReadyView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Not ready */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    who_am_i_api_v1_session_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sign_in_api_v1_session_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /** Token */
                    token: string;
                };
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sign_out_api_v1_session_delete: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    all_uploads_api_v1_ops_uploads_get: {
        parameters: {
            query?: {
                state?: components["schemas"]["UploadState"][] | null;
                owner?: string | null;
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OwnedPage"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    limits_api_v1_ops_limits_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LimitsView"];
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    ops_events_api_v1_ops_events_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    cancel_any_api_v1_ops_uploads__upload_id__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    tus_content_api_v1_tus__upload_id__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Upload expired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Range not satisfiable */
            416: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    tus_terminate_api_v1_tus__upload_id__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Upload expired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Protocol version not supported */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    tus_options_of_upload: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    tus_position_api_v1_tus__upload_id__head: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Upload expired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Protocol version not supported */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    tus_append_api_v1_tus__upload_id__patch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/offset+octet-stream": string;
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request · Digest can't be read · Inconsistent length values for upload */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Request too slow */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The upload stands elsewhere · Wrong state · Superseded by a newer connection */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Upload expired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Protocol version not supported */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Body too large · File too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Media type not supported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The checksum does not match */
            460: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Upload limit reached · Chunk failed · Staging not available · Destination not available · Database not available · Server is stopping */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    tus_create_api_v1_tus_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/offset+octet-stream": string;
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request · Name can't be used · Digest can't be read */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Request too slow */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state · Superseded by a newer connection */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Protocol version not supported */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description File too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Media type not supported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many unfinished uploads */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The checksum does not match */
            460: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Memory usage too high · Upload limit reached · Chunk failed · Database not available · Server is stopping */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    tus_options_api_v1_tus_options: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    resumable_state_api_v1_resumable__upload_id__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resumable_cancel_api_v1_resumable__upload_id__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resumable_options_of_upload: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    resumable_position: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Database not available */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resumable_append_api_v1_resumable__upload_id__patch: {
        parameters: {
            query?: never;
            header?: {
                /** @description 5, 6 or 8; without it no interim response is sent. */
                "Upload-Draft-Interop-Version"?: string;
                /** @description ?1: the content reaches to the end of the file; ?0: it does not. */
                "Upload-Complete"?: string;
                /** @description Of the whole file, in bytes. */
                "Upload-Length"?: string;
                /** @description Of the content (RFC 9530): sha-256, crc32c. */
                "Content-Digest"?: string;
                /** @description Where the content belongs, in bytes. */
                "Upload-Offset"?: string;
            };
            path: {
                upload_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/partial-upload": string;
            };
        };
        responses: {
            /** @description The file is stored, or (without content) its upload goes on. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description All bytes are kept; the destination takes its time. The upload goes on by itself: ask for it later. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description The upload goes on. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Invalid request · Digest can't be read · Inconsistent length values for upload · Upload is already completed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Request too slow */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Offset from request does not match offset of resource · Wrong state · Superseded by a newer connection */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Body too large · File too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Media type not supported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Digest mismatch */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Upload limit reached · Chunk failed · Staging not available · Destination not available · Database not available · Server is stopping */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resumable_create_api_v1_resumable_post: {
        parameters: {
            query?: {
                /** @description Relative folder at the destination. */
                path?: string;
                on_conflict?: components["schemas"]["NameConflictPolicy"];
                destination?: string;
            };
            header?: {
                /** @description 5, 6 or 8; without it no interim response is sent. */
                "Upload-Draft-Interop-Version"?: string;
                /** @description ?1: the content reaches to the end of the file; ?0: it does not. */
                "Upload-Complete"?: string;
                /** @description Of the whole file, in bytes. */
                "Upload-Length"?: string;
                /** @description Of the content (RFC 9530): sha-256, crc32c. */
                "Content-Digest"?: string;
                /** @description With the file's name: `inline; filename*=UTF-8''…`. */
                "Content-Disposition"?: string;
                /** @description Of the whole file (RFC 9530): sha-256, crc32c. */
                "Repr-Digest"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/octet-stream": string;
            };
        };
        responses: {
            /** @description The file is stored, or (without content) its upload begun. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description All bytes are kept; the destination takes its time. The upload goes on by itself: ask for it later. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadView"];
                };
            };
            /** @description Invalid request · Name can't be used · Digest can't be read · Inconsistent length values for upload */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not signed in */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Request too slow */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Wrong state · Superseded by a newer connection */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description File too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Digest mismatch */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many unfinished uploads */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Server error */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not available now · Memory usage too high · Upload limit reached · Chunk failed · Staging not available · Destination not available · Database not available · Server is stopping */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough room */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resumable_options_api_v1_resumable_options: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
}
